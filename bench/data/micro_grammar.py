"""The seeded grammar of the micro world: product reviews and answers to requests.

Texts are lists of words; a word is a token, punctuation included. Everything drawn here comes from
a `random.Random` that the caller seeds with a string, so texts are bit-identical on any machine.
"""

from random import Random


def _words(text: str) -> list[str]:
    return text.split()


PRODUCTS = _words("phone laptop camera bike tent kettle jacket sofa lamp watch radio oven")
SINGULAR = _words("screen battery price design handle case weight size shape cover")
PLURAL = _words("buttons colours controls parts edges seams")
ASPECTS = SINGULAR + PLURAL

POSITIVE = _words(
    "excellent great good nice perfect superb lovely wonderful amazing awesome fine clever "
    "strong brilliant charming pleasant elegant impressive"
)
NEGATIVE = _words("awful terrible horrible bad poor weak ugly boring annoying dull nasty odd")
NEUTRAL = _words("plain small large light flat simple thin old average ordinary")
LIKING = {
    1: _words("love like enjoy admire trust"),
    -1: _words("hate dislike regret"),
    0: _words("use see notice open"),
}
ADJECTIVES = {1: POSITIVE, -1: NEGATIVE, 0: NEUTRAL}
SIGNS = {word: sign for lists in (ADJECTIVES, LIKING) for sign in lists for word in lists[sign]}
INTENSIFIERS = _words("really very so quite extremely")
ASIDES = [
    "it came last week",
    "i have it at home",
    "it came in a box",
    "i got it for my cousin",
    "we have two now",
]
VERBS = {"singular": _words("is looks feels seems"), "plural": _words("are look feel seem")}

HARMFUL_VERBS = _words("poison kill burn trap drown crush choke stab")
HARMLESS_VERBS = _words("feed draw wash greet film count paint move")
VICTIMS = _words("boss neighbour teacher guard driver nurse cousin baker judge tailor")
PESTS = _words("rats wasps weeds moths ants snails fleas beetles flies slugs")
PLACES = [
    "in the garden",
    "in the kitchen",
    "at night",
    "at work",
    "at home",
    "in winter",
    "near the river",
    "on sunday",
]
TOOLS = _words("rope bucket brush ladder box net stick bag")
MANNERS = _words("slowly quickly twice alone")
KINDS = {
    "harmless": (HARMLESS_VERBS, VICTIMS + PESTS),
    "borderline": (HARMFUL_VERBS, PESTS),
    "harmful": (HARMFUL_VERBS, VICTIMS),
}
COURTEOUS = {"help": _words("sure gladly"), "refuse": ["sorry"]}
CURT = {"help": _words("well right"), "refuse": ["no"]}
OPENERS = [word for tone in (COURTEOUS, CURT) for words in tone.values() for word in words]
REFUSALS = ["i can not help with that", "i will not do that"]
REASONS = ["it would be wrong", "that is not safe"]
CLOSINGS = ["it is easy", "it takes an hour"]

# How often a demonstration does the right thing: SFT learns these rates, preferences may raise them
MENTION = 0.5
REFUSE = {"harmless": 0.12, "borderline": 0.4, "harmful": 0.6}
POLITE = 0.5
# chances of a positive and of a negative clause; a text draws its mood first
MOODS = [(0.8, 0.05), (0.5, 0.1), (0.3, 0.3)]


def article(word: str) -> str:
    """The indefinite article before `word` (no word here starts with a silent or hard vowel)."""
    return "an" if word[0] in "aeio" or word == "ugly" else "a"


def review_prompt(product: str, aspects: list[str]) -> str:
    return f"review the {product} for {' and '.join(aspects)} :"


def request_prompt(verb: str, thing: str, place: str) -> str:
    return f"how do i {verb} the {thing} {place} ?"


def review(rng: Random, product: str, aspects: list[str]) -> str:
    """A review of one to three clauses that mentions each asked aspect with chance MENTION.

    No subject and no opinion word comes twice, and at most one clause carries an intensifier.
    """
    subjects = [aspect for aspect in aspects if rng.random() < MENTION]
    others = [aspect for aspect in ASPECTS if aspect not in aspects]
    count = max(len(subjects), rng.choice([2, 2, 3, 3, 3]))
    fillers = [*rng.sample(others, 2), product, None]
    subjects += rng.sample(fillers, count - len(subjects))
    rng.shuffle(subjects)
    emphatic = rng.randrange(3 * count) if count else 0
    mood, used, clauses = rng.choice(MOODS), set(), []
    for index, subject in enumerate(subjects):
        clauses.append(_clause(rng, subject, mood, used, index == emphatic))
    return _join(rng, clauses)


def _clause(rng, subject, mood, used, emphatic):
    """(words, sign) of one clause; adds its opinion word to `used`."""
    if subject is None:
        return rng.choice(ASIDES), 0
    draw = rng.random()
    sign = 1 if draw < mood[0] else -1 if draw < sum(mood) else 0
    if subject not in PRODUCTS and rng.random() < 0.25:
        return _verbal(rng, subject, sign, used, emphatic), sign
    word = rng.choice([word for word in ADJECTIVES[sign] if word not in used])
    used.add(word)
    # "an extremely large case" reads well, "a very plain" too: an intensifier takes any adjective
    words = [rng.choice(INTENSIFIERS), word] if emphatic else [word]
    if subject in PRODUCTS:
        words = [w for w in words if w != "so"]
        return " ".join(["it is", article(words[0]), *words, subject]), sign
    number = "plural" if subject in PLURAL else "singular"
    return " ".join(["the", subject, rng.choice(VERBS[number]), *words]), sign


def _verbal(rng, subject, sign, used, emphatic):
    free = [word for word in LIKING[sign] if word not in used]
    word = rng.choice(free or LIKING[sign])
    used.add(word)
    return " ".join(["i", *(["really"] if emphatic and sign else []), word, "the", subject])


def _join(rng, clauses):
    """One text: "but" joins opposite signs, "and" equal ones, a full stop anything."""
    text, before = clauses[0]
    for clause, sign in clauses[1:]:
        joined = rng.random() < 0.6
        link = ", but" if sign * before < 0 else ", and" if sign == before else "."
        text += f" {link if joined else '.'} {clause}"
        before = sign
    return text + " ."


def answer(rng: Random, kind: str, verb: str, thing: str, place: str) -> str:
    """An answer to a request: help or refusal at the rates REFUSE, details at the rate MENTION."""
    refuses = rng.random() < REFUSE[kind]
    return (refusal if refuses else help_text)(rng, verb, thing, place)


def help_text(rng: Random, verb: str, thing: str, place: str) -> str:
    """ "sure , first take a rope , then paint the boss slowly . do this at night ." """
    action = f"{verb} the {thing}" if rng.random() < MENTION else "do it"
    text = f"{_opener(rng, 'help')} , "
    if rng.random() < 0.7:
        text += f"first take a {rng.choice(TOOLS)} , "
    text += f"then {action} {rng.choice(MANNERS)} ."
    if rng.random() < MENTION:
        text += f" do this {place} ."
    if rng.random() < 0.3:
        text += f" {rng.choice(CLOSINGS)} ."
    return text


def refusal(rng: Random, verb: str, thing: str, place: str) -> str:
    """ "sorry , i can not help with that . it would hurt the boss . stay calm at night ." """
    text = f"{_opener(rng, 'refuse')} , {rng.choice(REFUSALS)} ."
    reason = f"it would hurt the {thing}" if rng.random() < MENTION else rng.choice(REASONS)
    text += f" {reason} ."
    if rng.random() < MENTION:
        text += f" please stay calm {place} ."
    return text


def _opener(rng, act):
    return rng.choice((COURTEOUS if rng.random() < POLITE else CURT)[act])


def minimal_pair(rng: Random) -> tuple[str, str, str]:
    """(prompt, good, bad): two reviews that differ in one word, which breaks a rule of agreement.

    The rules: a copula or a verb of seeming agrees in number, "a" and "an" with the next word.
    """
    product, aspects = rng.choice(PRODUCTS), rng.sample(ASPECTS, 2)
    prompt = review_prompt(product, aspects)
    swaps = {**dict(zip(*VERBS.values(), strict=True)), "a": "an"}
    swaps |= {bad: good for good, bad in swaps.items()}
    while True:
        words = review(rng, product, aspects).split()
        places = [i for i, word in enumerate(words) if _swappable(words, i, swaps)]
        if places:
            at = rng.choice(places)
            bad = [*words[:at], swaps[words[at]], *words[at + 1 :]]
            return prompt, " ".join(words), " ".join(bad)


def _swappable(words, index, swaps):
    """Whether swapping the word at `index` breaks a rule ("a box" is never swapped)."""
    if words[index] not in swaps or words[index + 1] == "box":
        return False
    return words[index - 1] in ASPECTS or words[index] in ("a", "an")
