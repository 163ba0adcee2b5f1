"""What people write under pictures, in tags and in sentences, by language, and how their programs encode it."""

from __future__ import annotations

from random import Random

TAGS: dict[str, tuple[str, ...]] = {
    "Korean": (
        "소녀", "소년", "한복", "교복", "모자", "웃음", "긴 머리", "검은 눈", "고양이", "강아지", "벚꽃",
        "하늘", "바다", "도서관", "전신", "흰 배경", "빨간 드레스", "안경", "리본", "밤", "도시", "앉아 있는",
        "수채화", "페니", "눈물",
    ),
    "Japanese": (
        "少女", "少年", "着物", "制服", "帽子", "笑顔", "長い髪", "黒い目", "ねこ", "犬", "桜", "空", "海",
        "図書館", "全身", "白い背景", "赤いドレス", "メガネ", "リボン", "夜", "街", "座っている", "水彩画",
        "ペニー", "涙",
    ),
    "Chinese": (
        "女孩", "男孩", "汉服", "校服", "帽子", "微笑", "长发", "黑色眼睛", "猫", "小狗", "樱花", "天空",
        "大海", "图书馆", "全身", "白色背景", "红色连衣裙", "眼镜", "蝴蝶结", "夜晚", "城市", "坐着", "水彩画",
        "佩妮", "眼泪",
    ),
    "Traditional": (
        "女孩", "男孩", "漢服", "校服", "帽子", "微笑", "長髮", "黑色眼睛", "貓", "小狗", "櫻花", "天空",
        "大海", "圖書館", "全身", "白色背景", "紅色連衣裙", "眼鏡", "蝴蝶結", "夜晚", "城市", "坐著", "水彩畫",
        "佩妮", "眼淚",
    ),
    "Russian": (
        "девушка", "мальчик", "платье", "шляпа", "улыбка", "длинные волосы", "чёрные глаза", "кошка", "собака",
        "небо", "море", "библиотека", "белый фон", "красное платье", "очки", "бант", "ночь", "город", "сидит",
        "акварель",
    ),
    "Western": (
        "fille", "garçon", "robe d'été", "chapeau à plumes", "cheveux châtains", "yeux bleus foncés", "niña",
        "señora", "cigüeña", "Mädchen", "Straßencafé", "grüne Bäume", "über den Dächern", "crème brûlée",
        "forêt", "fenêtre", "São Paulo", "coração", "naïve", "élégante",
    ),
}  # fmt: skip
SENTENCES: dict[str, tuple[str, ...]] = {
    "Korean": (
        "한 소녀가 공원에서 책을 읽고 있다.",
        "창문 옆에 앉아서 커피를 마시는 여자",
        "비 오는 날 우산을 들고 걷는 아이의 뒷모습",
    ),
    "Japanese": (
        "少女が公園で本を読んでいる。",
        "窓の横に座ってコーヒーを飲む女性",
        "雨の日に傘をさして歩く子供の後ろ姿",
    ),
    "Chinese": (
        "一个女孩在公园里看书。",
        "坐在窗边喝咖啡的女人",
        "下雨天打着伞走路的孩子的背影",
    ),
    "Traditional": (
        "一個女孩在公園裡看書。",
        "坐在窗邊喝咖啡的女人",
        "下雨天打著傘走路的孩子的背影",
    ),
    "Russian": (
        "Девушка читает книгу в парке.",
        "женщина пьёт кофе у окна",
        "ребёнок идёт под зонтом, вид со спины",
    ),
    "Western": (
        "Une fille lit à côté de la fenêtre.",
        "Der Hund läuft über die Brücke.",
        "la niña camina bajo la lluvia mañana",
    ),
}
ENCODINGS = {
    "Korean": ("cp949", "utf-16-le", "utf-16-be"), "Japanese": ("cp932", "utf-16-le"), "Chinese": ("gb18030", "utf-16-be"),
    "Traditional": ("big5", "utf-16-le"), "Russian": ("cp1251", "utf-16-le"), "Western": ("cp1252", "utf-16-be"),
}  # fmt: skip
ENGLISH = ("1girl", "solo", "best quality", "penny", "AI", "3D", "(smile:1.2)")


def folder_of_captions(language: str, seed: int, files: int) -> list[str]:
    """So many captions of one language: tags with some English among them, or sentences."""
    random = Random(f"{language} {seed}")
    found = []
    for _ in range(files):
        if random.random() < 0.3:
            found.append(random.choice(SENTENCES[language]))
        else:
            tags = random.sample(TAGS[language], random.randint(1, 5)) + random.sample(ENGLISH, random.randint(0, 3))
            random.shuffle(tags)
            found.append(", ".join(tags))
    return found
