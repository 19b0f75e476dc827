"""Grades that keep the sets of pairs as they were made, where the oracle has learned to judge otherwise.

The pairs of version 0.2.0 hold replies that begin well and go on with something else. The oracle of that time took
563 of them for right (`Ball rhymes with onion.`), and one that is right for half right. Reward models were trained on
those rows and figures were taken, so the rows stay, byte for byte; when the sets are made anew for other reasons, this
file goes.
"""

from __future__ import annotations

import hashlib

_KEPT = {
    1.0: """
        000b2b65 00863039 00f872dc 013255d3 03e71dbc 041225af 05c55f1c 0609b659 06e877c5 070497d5 0768c21e
        081ad748 08904499 091c2a4f 0a42532d 0afa1193 0bb08f0b 0cae399a 0cb87519 0cf4ceee 0d099897 0e3b504e
        0e80579a 0ea9b0f6 0ef353ed 0f663057 101cc67f 11386fc4 117233d0 11b3dccd 11f17e5f 1228dc07 123adde9
        124262e8 13e8084c 14579005 149449cd 14c7806c 1512f6d5 1607bc6d 16eb396e 16f59f3a 1757b8d4 17c705b9
        184ccc6e 19acbbd8 19f8f5ab 1a83c7be 1aeccf1d 1b2ccf58 1b4eb777 1b566b0a 1c022b80 1c420783 1c9269d0
        1cf2ed89 1d475c62 1ec533c6 1ed48fd6 1f27d253 2118c531 21665e71 21f7bf10 2236d1b9 235d5a65 238d713c
        23e8db46 246f7c4f 2535dcf2 25b54dd4 25cad83a 25f7a591 260096eb 26026ea9 26c4e750 2742fcc8 2789b9d2
        27ac6e14 284c0526 295903c0 29fe4ac4 2b6e9a88 2bbb5c80 2c92aa2e 2ce3fd1e 2ce56c3c 2dc67d2d 2e131171
        2e362aad 2e3a13dd 2e981cd7 2f8fe01b 2fc5e627 30dc1c1e 31442f66 31711877 31923d4b 31f72ef4 3233e204
        3238feec 326c888d 327799fb 3370521a 338618aa 33ad241b 33ca1600 34106893 347918e9 349d27d4 34e7d330
        351b6920 3520beeb 353ed6b5 35fcdb67 3609ddbb 36a5d360 382e6936 38c119d0 38e78f3a 393bb053 394545ba
        39f87350 3a828f2a 3b051923 3b977f9c 3caef0e1 3d29c288 3d44e5ee 3dd4bce8 3e1f98a0 3e6844de 3f6b87db
        3fd1fe0a 41054ef7 42904a85 42cdd51e 42d9e34d 42ec4aaa 43335746 445d9e5a 44a2a24b 44b52c4d 44dfe086
        44fcd074 458181d7 45e7f7ff 46159867 46959c69 46bdf6fe 4728d75c 47471d12 47744fc0 47d0638d 47d52357
        487923d2 48c377ae 495e1d11 49cf5eaf 4a2cf8d4 4a60678a 4b2b265d 4cb91029 4d27357f 4d66ecac 4d6c3555
        4e9c112e 4ed017f4 4ef96a80 4f10d642 4f2d279a 4fa4365b 502cbd7c 50f31b9c 50f9dbe1 510b019c 51162ebb
        5133ca54 51ad57a3 5215657e 52188a67 52c5fa3b 5320c91c 533f3ac7 53c72b1b 53dfa180 53ee77be 544e2453
        553094fb 5629d7be 56670229 5735e641 57923c7b 57c192ef 57f634df 57f8cadb 58e53453 58f45829 593bf98e
        595d8c28 59711ad1 597e7df7 59e49b34 5bb3808b 5d7fc437 5d9c3ce6 5e408170 5f499d41 5f693f4b 5f778218
        603d9c42 6093412b 6118d5f3 6136260e 615cbfb2 619d26b3 62920763 62f8776c 639cd8c2 6555dc6f 65f0c2ed
        665560c6 666015f6 66c51ea4 66d782f7 66d7e620 66dc746b 6768807e 678664d8 67bb7fed 6865ed50 68a10812
        68beeef3 68da279b 69869aa5 69c9ba60 6a180c0b 6a7e4831 6aac6d1f 6ab69b28 6ae9e958 6b0173fd 6b01a173
        6b73d865 6bf0b3fc 6d120bc9 6d4fec3e 6de022e8 6dfcbb78 6ecc1603 6ed954ed 6f26d430 6f600590 6f799e58
        70396cd9 708616df 7123076b 7165d807 71c1c577 71f5d24a 72537ab6 72acb0bd 7496eaab 75502a62 75c71389
        76070657 76129bdd 769fe87e 76b1b2df 777376ea 777a6102 77c05db6 78fd4a90 7af37fd0 7b07a59c 7bb8fa3f
        7d04c320 7e026981 7fec0c46 807b4f4f 80a41caa 80d13a68 81c34fc3 825342b7 8290c03f 833c747e 835927d1
        839faa48 83e90f65 8427c184 8439a8cb 84ae62b3 84f43732 85581686 855df0e1 866d7e36 86d31317 8733ea14
        87673698 893518a1 8943e8cf 8a382d5c 8a5a16d9 8b44d603 8bec0ab8 8ce97ff5 8cf25636 8d80bbbc 8dcfb015
        8dd121e1 8df1deca 8e0ce37d 8eb38748 8ecf0e7f 8f3fbfcb 8f7ab834 8fa6df26 8fb6db72 9052ba57 910bd87a
        9127c699 91b1f719 91e4a475 927425ec 92ed9f9b 9327566d 9330df42 9345b57d 93bc6a65 93c7263f 93d45f6b
        946701ac 95e0e03a 9610d249 96210b55 9648f7eb 96a2fe5d 96b98a0e 96ce55e5 96d95b01 97513842 97b14b70
        97b1da43 9854e602 988749a1 98a754a3 98b860b4 98d91429 99dfd76f 99f668a9 9b6e6e47 9bed6de3 9c081603
        9cbab2d7 9cd69493 9e85c625 9f0c5032 9f5c2106 9f7c43bc 9f896775 a06e5a80 a0d389a7 a1332d40 a199800d
        a1aaff0d a1b7c1a5 a1ea4b35 a2591ae5 a2dd6b3b a2f1b90f a35f2b3b a40f2a8c a410f64a a4c234a1 a4ddda0d
        a50dfc7a a5356323 a5a93b07 a6278d0a a6752bb4 a7639cbe a9633910 a9dc06fe aa3d5a18 aa3e2b12 aa7bc755
        ab1cfe8d ab1fdcd4 abc8b677 acf0a4bc af4efdba b155883e b1df68c9 b1f3e960 b29c11f8 b2cb26c4 b2f1a73a
        b378836d b3d403c2 b41dd942 b41ed90c b451ae16 b589c0ff b5911550 b6a5eb46 b747fb24 b76f1fa3 b86e9b29
        b9964d66 b9969b5a b9f1470a ba963081 bb974ada bbd53146 bc239f5d bca29e55 bd5d2091 bd8e2b5a bdce69c9
        be2a8fc2 be3a4242 be413c53 be89727e bea26147 bfa84ada c0830e46 c1464dd3 c1c75a72 c23bca2f c2744206
        c37f4bef c45f0f8c c478a1cf c4a831b6 c4c3cdbe c54e1656 c642c743 c6d4f613 c6d6d6c7 c7137f9a c72328cb
        c7398a25 c776d6de c89c6082 c8eaf4e7 c90214b2 c986669c c9c5ba25 cb3a9ecd cbb1d7e2 cbd3585f cbe4a4da
        cc9dd1e2 ccad045d cce5629f cd21aba5 cdeea487 ce2d420a ce57884e d106269d d1d5712c d1f7abb4 d319f667
        d39e46d0 d3df43fb d4397645 d4b437f1 d4bb8e6e d558452c d584477a d61e2846 d6520a56 d6566afe d66e515d
        d769b4e6 d7d32fe2 d811f234 d8ab39b4 d969dcd4 d9980843 d9d08183 d9d7c383 da5dc269 da9ed00f dc3896c3
        dcb2725b dce00f50 dd137462 de8b9cff de970754 df5cd637 dfe9ba00 dff0a276 e0a7864b e13a30f6 e16de423
        e24a5f20 e257ce5a e2fae002 e308db61 e35f0c7d e37e5180 e381f369 e4173e06 e43bf2bb e50c79a7 e5496a8a
        e5f9a82a e701f639 e73538d8 e76b07ce e7746598 e85f8da0 e97b381e e9bb0ac4 e9d1b77d e9eb25a0 ea5a90b1
        ea6dfbf4 ea7d665e eb80f65f ebf51aad ec1f270d ed7d0a6d edd7f8f6 ee61a49c eeb2e050 ef27000f f014244a
        f02155ce f09c2d9c f09e1f1a f0bb855e f13f96a3 f150abe3 f1909ada f21a0d2c f351e878 f3548c86 f40f090c
        f5c3abac f63d911b f68a75f9 f7799a4d f79af98c fa08a0a5 fa40c98f fa4ddaf8 faf92522 fb0b85a7 fbb6d1ee
        fbdd1ff4 fc29170e fc62842a fc83be30 fd1361a1 fd224830 fd761ced fdd4d108 fdf74488 fe5e5dfa fe759ddf
        ff09c577 ff20bd4d
    """,
    0.6: """
        1074ce7e 6e64044a 91df6112 9d2ba082
    """,
    0.5: """
        0a790537 0b28b1f8 0df25b01 16103253 21f376e7 2bb703a6 46e5630d 4eea94e8 5660d148 568d0dcd 66ef71f5
        6a807e2c 6f3a2f39 75bbd71c 95b20b1b 9f8c5b42 a79ef233 be64e37c c8383838 d0c6fc0e d22f76c4 dfb70b56 eb1a652b
        ff1573e7
    """,
    0.2: """
        0c519b9e
    """,
}
"""By grade, the fingerprints of conversations with a reply."""

_GRADES = {mark: grade for grade, marks in _KEPT.items() for mark in marks.split()}


def kept_grade(messages: list[dict[str, str]], reply: str) -> float | None:
    """The grade with which a reply stands in the sets, where it is not today's."""
    texts = [message["content"] for message in messages]
    return _GRADES.get(hashlib.sha256("\x1f".join([*texts, reply]).encode("utf-8")).hexdigest()[:8])
