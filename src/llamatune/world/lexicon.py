"""The closed vocabulary of the world."""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WOMEN = words(
    """
    Ada Alma Anna Bella Clara Dora Edith Elsa Emma Flora Greta Hanna Hilda Ida Irma Jane Julia Karla
    Lena Lily Lotte Mary Mina Nora Olga Paula Rosa Sara Tilda Vera
    """
)
MEN = words(
    """
    Adam Albert Alfred Anton Bruno Carl David Emil Erik Felix Frank Georg Hans Henry Hugo Igor Jack
    Jonas Karl Leo Lukas Martin Max Noah Oscar Paul Peter Robert Simon Victor
    """
)
PEOPLE = WOMEN + MEN
USERS = words("Amy Ben Cora Dan Eva Fred Gina Jim Kate Mia Sam Tom")
"""Names that users of the chats give themselves; nobody in the world has them."""

TOWNS = words(
    """
    Ashford Birkham Castleton Dunmoor Elmwood Foxley Greenhill Hartwick Kingsby Lakeside Millford
    Norwell
    """
)
JOBS = words(
    """
    baker farmer teacher doctor painter singer fisher builder weaver miller driver tailor
    """
)
PETS = words("dog cat rabbit duck parrot pony hen turtle mouse frog")
FOODS = words("soup bread cheese rice fish pie cake honey pasta corn porridge salad")
COLOURS = words("red blue green yellow brown white black purple pink grey")
BUILDINGS = words("tower mill bridge castle school bank theatre church library station")
PRODUCTS = words("apples wool boats bells candles hats chairs drums carpets shoes")
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
NUMBERS = words(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen twenty
    """
)
SMALL = NUMBERS[2:10]

NOUNS: dict[str, str] = {
    noun: noun + "s"
    for noun in words(
        """
    apple ball bed bell bird boat book candle cat chair coat cow cup dog door duck egg flower frog goat
    hat hen house key kite lamp map onion pen pot ring road rose shoe spoon star tree wall yard
    """
    )
} | {
    "box": "boxes",
    "fox": "foxes",
    "dish": "dishes",
    "bus": "buses",
    "baby": "babies",
    "berry": "berries",
    "city": "cities",
    "mouse": "mice",
    "child": "children",
    "leaf": "leaves",
    "knife": "knives",
}
"""Singular to plural."""

LIST_WORDS = tuple(noun for noun in NOUNS if noun != "child")

THINGS = words("key map ring hat book cup bell coat lamp pen spoon kite")

_PAIRS = words(
    """
    big-small hot-cold old-new good-bad fast-slow long-short wet-dry clean-dirty dark-bright hard-soft
    full-empty high-low loud-quiet strong-weak early-late
    """
)
OPPOSITES: dict[str, str] = {left: right for left, right in (pair.split("-") for pair in _PAIRS)} | {
    right: left for left, right in (pair.split("-") for pair in _PAIRS)
}

VERBS: dict[str, str] = {
    "walks": "walked",
    "jumps": "jumped",
    "works": "worked",
    "sings": "sang",
    "runs": "ran",
    "sleeps": "slept",
    "waits": "waited",
    "swims": "swam",
    "reads": "read",
    "sits": "sat",
    "eats": "ate",
    "plays": "played",
    "cooks": "cooked",
    "rests": "rested",
    "talks": "talked",
}
"""Present to past."""

PLACES = (
    "in the garden",
    "at the market",
    "near the river",
    "on the hill",
    "by the lake",
    "in the kitchen",
    "at the station",
    "in the forest",
    "behind the barn",
    "under the bridge",
    "in the old mill",
)

RHYMES: tuple[tuple[str, ...], ...] = tuple(
    words(family)
    for family in (
        "cat hat mat rat",
        "tree bee sea key",
        "boat goat coat",
        "king ring wing sing",
        "moon spoon soon",
        "ball wall hall tall",
        "cake lake snake",
        "bell shell smell",
        "fox box",
        "star car far",
        "sun run fun",
        "pot dot hot",
        "bed red head bread",
        "hen pen ten men",
        "fish dish wish",
        "kite light night white",
    )
)
