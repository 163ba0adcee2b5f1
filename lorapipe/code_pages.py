"""In which code page names or texts were written that do not say it: by evidence, of all of them together.

Every code page that fits is tried, and what the bytes then say is judged letter by letter: letters that are frequent in a
language speak for its code page, rare ones, symbols, capitals in the middle of a word and mixed alphabets against it. The
code page of this system counts a little more: files mostly come from people of one's own language.
"""

from __future__ import annotations

import locale
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

PAGES = {
    "cp949": "Korean",
    "cp932": "Japanese",
    "gb18030": "simplified Chinese",
    "cp950": "traditional Chinese",
    "cp866": "Cyrillic",
    "cp1251": "Cyrillic",
    "koi8_r": "Cyrillic",
    "cp850": "Western European",
    "cp1252": "Western European",
    "cp437": "Western European",
    "cp852": "Central European",
    "cp1250": "Central European",
    "cp857": "Turkish",
    "cp1254": "Turkish",
    "cp737": "Greek",
    "cp1253": "Greek",
    "cp862": "Hebrew",
    "cp1255": "Hebrew",
    "cp1256": "Arabic",
    "cp874": "Thai",
}
"""Code page → language. Where two are as likely, the first."""
OF_LANGUAGES = {
    "ko": ("cp949",), "ja": ("cp932",), "zh_tw": ("cp950",), "zh_hk": ("cp950",), "zh": ("gb18030",),
    "ru": ("cp866", "cp1251"), "uk": ("cp866", "cp1251"), "be": ("cp866", "cp1251"), "bg": ("cp866", "cp1251"),
    "pl": ("cp852", "cp1250"), "cs": ("cp852", "cp1250"), "sk": ("cp852", "cp1250"), "hu": ("cp852", "cp1250"),
    "ro": ("cp852", "cp1250"), "hr": ("cp852", "cp1250"), "sl": ("cp852", "cp1250"), "tr": ("cp857", "cp1254"),
    "el": ("cp737", "cp1253"), "he": ("cp862", "cp1255"), "ar": ("cp1256",), "th": ("cp874",),
}  # fmt: skip
WEIGHT_OF_LOCAL = 0.15
LESS_USUAL = 0.2
"""What a code page of a smaller language must be better by: it has letters for the same bytes as the larger ones."""
UTF8_BONUS = 0.3
"""UTF-8 is what most programs write today."""
LEAST = 0.25
"""Of a letter, so much likelihood is needed, or none of the code pages is right."""
ENOUGH = 20_000
"""Bytes that are looked at: more say the same."""

HANGUL = frozenset(
    "이다는가의에을하고지나도사들기로리어아서자시은그를한인수대있정해보스라일만여"
    "부장제주면것과소상게거원동드유전오구비선성모니우조세마러요무안신위문화조공방"
    "미내연진관적르트계으바치터호경영생중실양개분물없재회크파산심서발금당천명단반"
    "레플설월란래남간식키업통민행달교두했학출외타속저네노였와각때후말음히감국력본"
    "년체강임현결작형차함류번목법불용운입할려될된겠같더알려집초최추며매르몸복북박밤"
    "페녀옷얼굴손발꽃새눈코입귀머리칼색빨노파랑검흰희미소년친구엄빠언니누나형동생"
    "예쁜귀엽큰작은긴짧픽셀펜빛길찍품셔츠링컬팅봄여름가을겨울곰강아고양토끼"
    "캐릭터얀콘슈컴퓨카메폰샤워킹쿠티피포루론렌델머먼벨별선홍"
)
HANZI = frozenset(
    "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可"
    "里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老"
    "从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机"
    "给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却代军产"
    "入先山五太水万市眼体别处总才场师书比住员九笑性通目华报立马命张活难神数件安表原车白应路期叫死常提"
    "感金何更反合放做系计或司利受光王果亲界及今京务制解各任至清物台象记边共风战干接它许八特觉望直服毛"
    "林题建南度统色字请交爱让认算论百吃义科怎元社术结六功指思非流每青管夫连远资队跟带花快条院变联言权"
    "往展该领传近留红治决周保达办运武半候七必城父强步完革深区即求品士转量空甚众技轻程告江语英基派满式"
    "李息写呢识极令黄德收脸钱党倒未持取设始版双历越史商千片容研像找友孩站广改议形委早房音火际则首单据"
    "导影失拿网香似斯专石若兵弟谁校读志飞观争究包组造落视济喜离虽坏兴球古服照图集画汉裙衣猫狗龙凤"
    "漂亮姐妹哥爷奶妈爸婆娘儿童少帅酷萌蓝绿紫橙粉灰黑银春夏秋冬雪雨云星夜阳景拍摄素材训练模型角色"
    "風國學會來時個們這說對為過發後還開關長門東車馬龍鳳貓愛麗蘭張陳劉黃楊趙吳孫許鄭謝韓馮圖書畫語"
    "戰機電腦華萬與業樂歡歲義選擇線絲網紅綠藍銀錢鐵飛見覺親觀記訓練認識讓請讀變護島嶼廣應當從後徑"
    "寫真漢服裝頭髮臉點體無熱燈爾獨現動物種類級組織結給統經維羅美術間陽陰隊際雙難雲靈靜頁項順須預頻"
    "臺灣貓咪夾旗袍鞋帽褲襪傘劍獅虎狼熊鹿鳥蝶藝術攝影參考資料增夾圖檔案樣本"
    "顏願風飯館齊齡夢夠奧婦媽孃孩學寧實寶將專導層屬幾幹庫廠張強彈彌"
)
KANJI = frozenset(
    "日一人国会年大十二本中長出三同時政事自行社見月分議後前民生連五発間対上部東者党地合市業内相方四定今"
    "回新場金員九入選立開手米力学問高代明実円関決子動京全目表戦経通外最言氏現理調体化田当八六約主題下首"
    "意法不来作性的要用制治度務強気小七成期公持野協取都和統以機平総加山思家話世受区領多県続進正安設保改"
    "数記院女初北午指権心界支第産結百派点教報済書府活原先共得解名交資予川向際査勝面委告軍文反元重近千考"
    "判認画海参売利組知案道信策集在件団別物側任引使求所次水半品昨論計死官増係感特情投示変打男基私各始島"
    "直両朝革価式確村提運終挙果西勢減台広容必応演電歳住争談能無再位置企真流格有疑口過局少放税検藤町常校"
    "着付花猫犬服髪眼美娘姫桜雪夜空星青赤白黒緑茶色絵写真撮影衣装姿顔笑春夏秋冬雨風愛夢森林浴祭神社寺和洋"
    "制服浴衣巫狐竜龍魔法剣騎士勇者王妃城聖天使悪鬼刀侍忍茜葵凛蓮翔陽美咲結衣未来子香奈恵理沙由紀"
)
LATIN = frozenset("äöüßéèêàâçñåøæáíóúîôûëïãÄÖÜÉÅØÆÇÑÁÍÓÚœ")
CENTRAL = frozenset("ąćęłńśźżčěřšťůýžďňőűășțđľĺŕŁŚŻŹĆŠČŘŽŮŇĎŤĐŐŰ") | LATIN
TURKISH = frozenset("ığşİĞŞ") | LATIN
EAST_ASIAN = ("Korean", "Japanese", "simplified Chinese", "traditional Chinese")
USUAL = (*EAST_ASIAN, "Cyrillic", "Western European")
LETTERS = {"Central European": CENTRAL, "Turkish": TURKISH}
ALPHABETS = (
    ("Cyrillic", re.compile("[\u0401\u0410-\u044f\u0451]"), frozenset("оеаинтсрвлкмдпуяь")),
    ("Greek", re.compile("[\u0386-\u03ce]"), frozenset("αοιετσνρκπμλςάίόέήυ")),
    ("Hebrew", re.compile("[\u05d0-\u05ea]"), frozenset("יוהלאמרתבשנד")),
    ("Arabic", re.compile("[\u0621-\u0652]"), frozenset("اليمنرتبوسدةهعفق")),
    ("Thai", re.compile("[\u0e01-\u0e3a\u0e40-\u0e4e]"), frozenset("านรกอเงวมยลทสดตหญ่้ีัิ์ู")),
)
"""Alphabet, its letters, and those that make up most of a text in it."""


@dataclass(frozen=True)
class Guess:
    """How names are to be read. `words` say how they were, where that is worth a word; they are empty where it is plain."""

    encoding: str
    words: str = ""

    def decode(self, data: bytes) -> str:
        """The text of bytes; whatever they are, there is one."""
        return data.decode(self.encoding, "replace")


def guess(names: Sequence[bytes], local: Sequence[str] | None = None) -> Guess:
    """How the names, or texts, of one author are to be read; `local` are the code pages of this system."""
    sample = [*_sample(names)]
    if not sample:
        return Guess("utf-8")
    local = local_pages() if local is None else local
    likelihoods = {page: _likelihood(sample, page, local) for page in PAGES}
    if _of_utf8(sample) >= max(likelihoods.values()):
        return Guess("utf-8")
    page = max(likelihoods, key=likelihoods.__getitem__)
    if likelihoods[page] < LEAST:
        return Guess("cp437", "its names are in no code page that is known; pack it with UTF-8 names, or rename them")
    return Guess(page, f"its names were read as {PAGES[page]} ({page})")


@cache
def local_pages() -> tuple[str, ...]:
    """The code pages that programs of this system's language write in."""
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.windll.kernel32
        return f"cp{kernel.GetOEMCP()}".replace("cp936", "gb18030"), f"cp{kernel.GetACP()}".replace("cp936", "gb18030")
    named = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), None)
    language = (named or locale.getlocale()[0] or "").lower()
    short = language[:5], language[:2]
    return next((OF_LANGUAGES[each] for each in short if each in OF_LANGUAGES), ("cp850", "cp1252"))


def _sample(names: Iterable[bytes]) -> Iterator[bytes]:
    """The parts of names that are not ASCII, each once: a folder stands before each of its files."""
    parts = dict.fromkeys(part for name in names if not name.isascii() for part in name.split(b"/"))
    left = ENOUGH
    for part in parts:
        if not part.isascii() and left > 0:
            left -= len(part)
            yield part[:ENOUGH]


def _of_utf8(sample: Sequence[bytes]) -> float:
    """How likely texts are UTF-8: certainly where they have letters of three bytes, which make nobody's words by chance."""
    try:
        texts = [data.decode("utf-8") for data in sample]
    except UnicodeDecodeError:
        return -9.0
    if any(letter >= "\u0800" for text in texts for letter in text):
        return 9.0
    return UTF8_BONUS + max(_mean(texts, language) for language in PAGES.values())


def _likelihood(sample: Sequence[bytes], page: str, local: Sequence[str]) -> float:
    """How well texts read in a code page, about -1 to 1, for each letter that is not ASCII; -9 where they cannot be."""
    try:
        texts = [data.decode(page) for data in sample]
    except UnicodeDecodeError:
        return -9.0
    usual = PAGES[page] in USUAL or page in local
    return _mean(texts, PAGES[page]) + WEIGHT_OF_LOCAL * (page in local) - LESS_USUAL * (not usual)


def _mean(texts: Iterable[str], language: str) -> float:
    weights = [weight for text in texts for weight in _weights(text, language)]
    return sum(weights) / max(1, len(weights))


def _weights(text: str, language: str) -> Iterator[float]:
    """How much each letter that is not ASCII, where it stands, speaks for a language."""
    for before, letter, after in zip(f" {text}", text, f"{text[1:]} ", strict=False):
        if letter.isascii():
            if letter == "\\" and not before.isascii():
                yield -0.5  # more likely the second half of a letter
            continue
        if letter in "\ufffd" or not letter.isprintable() or 0xE000 <= ord(letter) <= 0xF8FF:
            yield -1.0
        elif language in EAST_ASIAN:
            joined = any(each.isascii() and each.isalpha() for each in (before, after))
            yield _of_east_asia(letter, language) - 0.3 * joined
        else:
            yield _of_an_alphabet(before, letter, after, language)


def _of_east_asia(letter: str, language: str) -> float:
    code = ord(letter)
    if 0x3000 <= code <= 0x301F or 0xFF01 <= code <= 0xFF5E or letter in "·…「」『』":
        return 0.3
    if language == "Korean":
        if 0xAC00 <= code <= 0xD7A3:
            return 1.0 if letter in HANGUL else 0.5 if _is_of(letter, "euc_kr") else -0.7
        return -0.5
    if language == "Japanese":
        if 0x3041 <= code <= 0x30FE:
            return 1.0
        if 0x4E00 <= code <= 0x9FFF:
            return 1.0 if letter in KANJI else 0.4 if letter.encode("cp932")[0] < 0x98 else -0.3
        return 0.5 if letter == "々" else -0.7
    if 0x4E00 <= code <= 0x9FFF:
        if letter in HANZI:
            return 1.0
        page, last = ("gb2312", 0xD7) if language.startswith("simplified") else ("big5", 0xC6)
        return 0.4 if _is_of(letter, page) and letter.encode(page)[0] <= last else -0.4
    return -0.7


def _is_of(letter: str, page: str) -> bool:
    try:
        letter.encode(page)
    except UnicodeEncodeError:
        return False
    return True


def _of_an_alphabet(before: str, letter: str, after: str, language: str) -> float:
    shouted = letter.isupper() and before.islower()
    for alphabet, pattern, common in ALPHABETS:
        if pattern.match(letter):
            if alphabet != language:
                return -0.7
            mixed = any(each.isascii() and each.isalpha() for each in (before, after))
            all_capitals = letter.isupper() and before.isupper()
            return (1.0 if letter.lower() in common else 0.5) - 1.5 * mixed - 1.5 * shouted - 0.08 * all_capitals
    if language in (name for name, _, _ in ALPHABETS) or not letter.isalpha():
        return -0.7
    wanted = LETTERS.get(language, LATIN)
    neighbours = sum(each.isalpha() and not each.isascii() for each in (before, after))
    alone = not any(each.isalpha() for each in (before, after))
    return (0.9 if letter in wanted else 0.1) - 0.35 * neighbours - 0.3 * alone - 1.2 * shouted
