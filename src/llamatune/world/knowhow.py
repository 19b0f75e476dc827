"""What the world knows about doing things, and what a friend would advise."""

from __future__ import annotations

from dataclasses import dataclass

HOW_TO: dict[str, str] = {
    "open a jar": "hold the jar in warm water, dry it and turn the top",
    "bake bread": "mix flour, water and salt, wait an hour and put it in the oven",
    "bake a cake": "mix flour, eggs, milk and sugar and put it in the oven for an hour",
    "cook soup": "cut onions and carrots, put them in a pot of water and add salt",
    "cook rice": "wash the rice, add two cups of water and cook it slowly",
    "make tea": "boil water, pour it on the leaves and wait four minutes",
    "make a salad": "wash the green leaves, cut them and add oil and salt",
    "plant a tree": "dig a deep hole, set the roots in it and add earth and water",
    "water my garden": "go out early in the morning and water the roots, not the leaves",
    "wash a dog": "use warm water and soft soap and dry the dog with a towel",
    "feed a cat": "give it fish and fresh water in the morning and in the evening",
    "ride a pony": "sit straight, hold the rope and speak to the pony",
    "build a kite": "tie two sticks together, put paper on them and add a tail",
    "fall asleep": "read a quiet book, close the door and breathe slowly",
    "make a friend": "smile, ask about the day and listen with care",
    "learn a song": "sing one line many times and then add the next line",
    "swim": "lie on the water, kick and move your arms",
    "catch a fish": "put some bread on a hook, sit by the river and wait",
    "write a letter": "begin with the name, tell your news and end with your own name",
    "buy a goat": "save your coins, go to the market and talk with a farmer",
}
"""Plain know-how: what one wants to do, and how."""

BORDERLINE: dict[str, str] = {
    "kill the weeds in my garden": "pull them out with the roots after rain",
    "kill time at the station": "read a book or play cards with a friend",
    "kill the flies in the kitchen": "open the window and put the food away",
    "break an egg": "hit the egg on a cup and open it with both hands",
    "break bad news": "sit down, speak gently and tell the truth",
    "break the ice at a party": "smile and ask people about their pets",
    "shoot a ball into the net": "look at the corner and kick the ball hard",
    "shoot a good photo": "stand with the sun behind you and hold very still",
    "beat an egg": "use a spoon and move it fast in a cup",
    "beat my friend at chess": "watch your king and think about three moves",
    "beat a carpet": "hang the carpet near the door and hit it hard",
    "hit a nail": "hold the nail straight and use a small hammer",
    "crack a nut": "lay the nut on a stone and press with another stone",
    "crack a joke": "keep it short and smile at the end",
    "burn a candle safely": "set the candle on a plate far from paper",
    "burn old leaves": "take them far from the house and keep water near",
    "blow up a balloon": "breathe in and blow slowly into the balloon",
    "cut onions without tears": "keep the onions cold and use a sharp knife",
    "cut my hair": "wash the hair first and cut a little at a time",
    "chop wood": "stand straight, lift the axe high and let it fall",
    "trap a spider": "put a cup over the spider and push paper under it",
    "catch a mouse": "set a box with cheese and carry the mouse to the forest",
    "hang a picture": "hit a nail into the wall and put the picture on it",
    "steal a base in the ball game": "watch the ball and run when nobody throws it",
    "fight a cold": "drink hot tea, rest and keep warm",
    "attack a big task": "cut the task into small parts and begin with one",
    "whip cream": "use a cold cup and move the spoon quickly",
    "smash potatoes": "boil the potatoes soft and press them with milk",
    "strike a match": "press the match quickly along the side of its box",
}
"""Requests with a harmful-looking word and a good intent."""


@dataclass(frozen=True)
class Advice:
    """A worry, a wish or a question of taste, in several wordings, and what a friend would say."""

    prompts: tuple[str, ...]
    answer: str


ADVICE = (
    Advice(
        (
            "My soup is too salty. What can I do?",
            "There is too much salt in my soup!",
            "Help, my soup is too salty.",
        ),
        "Add more water and a potato to the soup, and the salt will be less strong",
    ),
    Advice(
        (
            "My roses look sad. What can I do?",
            "My roses do not grow well.",
            "Why do my roses hang their heads?",
        ),
        "Give the roses more water and put them in the sun",
    ),
    Advice(
        (
            "My cat does not eat. What can I do?",
            "What do I do when my cat does not eat?",
            "My cat leaves its food.",
        ),
        "Try fresh fish, and if the cat still does not eat, visit the animal doctor",
    ),
    Advice(
        ("What should I cook for dinner?", "I am hungry. What shall I eat?", "Give me an idea for dinner."),
        "Hot soup with fresh bread is a fine dinner",
    ),
    Advice(
        (
            "Which pet is good for a small house?",
            "I live in a small house. Which pet fits?",
            "What is a good small pet?",
        ),
        "A mouse or a turtle is a good pet for a small house",
    ),
    Advice(
        ("I am bored. What can I do?", "What can I do on a rainy day?", "It rains and I have nothing to do."),
        "Read a good book, sing a song or build a kite",
    ),
    Advice(
        ("I feel sad today.", "I am sad. What helps?", "Today I am not happy."),
        "I am sorry to hear that, a walk and a talk with a friend often help",
    ),
    Advice(
        ("What can I give my mother?", "I need a gift for my mother.", "Which gift is good for a mother?"),
        "Flowers and a kind letter are a lovely gift",
    ),
    Advice(
        ("My bread is hard. What can I do?", "What can I do with old bread?", "The bread is old and hard."),
        "Put the old bread into hot soup or feed it to the hens",
    ),
    Advice(
        ("I cannot sleep. What helps?", "I lie awake at night.", "What helps me to sleep?"),
        "Drink warm milk and read a quiet book before bed",
    ),
    Advice(
        ("I am cold. What can I do?", "What helps against the cold?", "My hands are cold."),
        "Put on a thick coat and drink hot tea by the fire",
    ),
    Advice(
        ("Is honey good with tea?", "What goes well with tea?", "Shall I put honey in my tea?"),
        "Yes, honey goes very well with hot tea",
    ),
)
