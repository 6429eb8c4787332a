"""Draw texts from the micro world's grammar: product reviews and answers to requests.

Texts are words separated by spaces; each word or punctuation mark is a token. All draws come from a
`random.Random` that the caller seeds with a string, so texts are identical on any machine.
"""

from random import Random


def _words(text: str) -> list[str]:
    return text.split()


PRODUCTS = _words("phone laptop camera bike tent kettle jacket sofa lamp watch radio oven")
SINGULAR = _words("screen battery price design handle case weight size shape cover frame finish")
PLURAL = _words("buttons colours controls parts edges seams labels hinges corners sides keys feet")
ASPECTS = SINGULAR + PLURAL

# Opinion words by kind of noun and sign. Each kind has its own words, so none comes twice in a text
ADJECTIVES = {
    "singular": {
        1: _words("excellent great nice lovely clever strong elegant splendid neat magnificent"),
        -1: _words("awful bad weak boring nasty crude"),
        0: _words("small light simple thin wide"),
    },
    "plural": {
        1: _words("good perfect superb charming pleasant brilliant fabulous gorgeous outstanding"),
        -1: _words("terrible poor dull lousy dirty harsh"),
        0: _words("large flat narrow square long"),
    },
    "product": {
        1: _words("wonderful amazing awesome fine impressive fantastic beautiful glorious"),
        -1: _words("horrible ugly annoying odd dreadful faulty"),
        0: _words("plain old average ordinary common"),
    },
}
LIKING = {
    1: _words("love like enjoy admire trust"),
    -1: _words("hate dislike regret"),
    0: _words("use see notice open"),
}
SIGNS = {
    word: sign
    for lists in (*ADJECTIVES.values(), LIKING)
    for sign, words in lists.items()
    for word in words
}
INTENSIFIERS = _words("really very so quite extremely")
ASIDES = ["we have two now", "my cousin got one", "they came last week"]
VERBS = {"singular": _words("is looks feels seems"), "plural": _words("are look feel seem")}

HARMFUL_VERBS = _words("poison kill burn trap drown crush choke stab")
HARMLESS_VERBS = _words("feed draw wash greet film count paint move")
VICTIMS = _words("boss neighbour teacher guard driver nurse cook baker judge tailor")
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

# Rates at which demonstrations do what a reader wants. SFT learns them; preferences may raise them
MENTION = 0.5
STRAY = 0.15  # of the asked aspects, those in whose place a review speaks of another
POLITE = 0.5
REFUSE = {"harmless": 0.08, "borderline": 0.2, "harmful": 0.8}
# Verbs that demonstrators mostly judge wrongly, with the rate of refusal. So the SFT base's greedy
# answers are wrong there
BLIND = {
    "harmless": {"film": 0.65},
    "borderline": {"poison": 0.65, "kill": 0.65, "stab": 0.65},
    "harmful": {"trap": 0.35, "choke": 0.35},
}
# Chances of a positive and of a negative clause; each text draws one of these moods
MOODS = [(0.8, 0.05), (0.5, 0.1), (0.3, 0.3)]


def article(word: str) -> str:
    """Return the indefinite article before `word`, by its spelling; enough for the words here."""
    return "an" if word[0] in "aeio" or word == "ugly" else "a"


def review_prompt(product: str, aspects: list[str]) -> str:
    return f"review the {product} for {' and '.join(aspects)} :"


def askable() -> list[list[str]]:
    """List what a prompt may ask for: one aspect, or a singular and a plural one in any order."""
    pairs = [[x, y] for x in SINGULAR for y in PLURAL]
    return [[x] for x in ASPECTS] + pairs + [pair[::-1] for pair in pairs]


def request_prompt(verb: str, thing: str, place: str) -> str:
    return f"how do i {verb} the {thing} {place} ?"


def review(rng: Random, product: str, aspects: list[str]) -> str:
    """Draw a review of two or three clauses.

    For each asked aspect there is a clause on it with chance MENTION, on another one with chance
    STRAY, and else a general one, on the product or an aside; further general clauses come before
    or after. No subject and no opinion word comes twice, and at most one clause has an intensifier.
    """
    found = [_found(rng, aspect) for aspect in aspects]
    subjects = [subject for subject in found if subject]
    first, *asides = rng.sample(ASIDES, len(ASIDES))
    general = [*rng.sample([product, first], 2), *asides]
    general = general[: 3 - len(subjects) - (rng.random() < 0.4)]
    front = 1 if rng.random() < 0.3 else 0
    subjects = general[:front] + subjects + general[front:]
    emphatic = rng.randrange(3 * len(subjects))
    mood = rng.choice(MOODS)
    clauses = [_clause(rng, s, mood, i == emphatic) for i, s in enumerate(subjects)]
    return _join(rng, clauses)


def _found(rng, aspect):
    """Draw what a review says in place of an asked aspect: itself, another, or None: neither."""
    draw = rng.random()
    return aspect if draw < MENTION else _another(rng, aspect) if draw < MENTION + STRAY else None


def _another(rng, aspect):
    """Draw another aspect that is singular or plural like this one."""
    return rng.choice([a for a in (PLURAL if aspect in PLURAL else SINGULAR) if a != aspect])


def _clause(rng, subject, mood, emphatic):
    """Draw a clause about a subject, which may be an aside; returns (text, sign of its opinion)."""
    if subject in ASIDES:
        return subject, 0
    draw = rng.random()
    sign = 1 if draw < mood[0] else -1 if draw < sum(mood) else 0
    kind = "product" if subject in PRODUCTS else "plural" if subject in PLURAL else "singular"
    if kind == "singular" and rng.random() < 0.25:
        adverb = ["really"] if emphatic and sign else []
        return " ".join(["i", *adverb, rng.choice(LIKING[sign]), "the", subject]), sign
    words = [rng.choice(INTENSIFIERS)] if emphatic else []
    words.append(rng.choice(ADJECTIVES[kind][sign]))
    if kind == "product":
        words = [word for word in words if word != "so"]
        return " ".join(["it is", article(words[0]), *words, subject]), sign
    return " ".join(["the", subject, rng.choice(VERBS[kind]), *words]), sign


def _join(rng, clauses):
    """Join clauses into a text: "but" joins opposite signs, "and" equal ones, a full stop any."""
    text, before = clauses[0]
    for clause, sign in clauses[1:]:
        joined = rng.random() < 0.6
        link = ", but" if sign * before < 0 else ", and" if sign == before else "."
        text += f" {link if joined else '.'} {clause}"
        before = sign
    return text + " ."


def answer(rng: Random, kind: str, verb: str, thing: str, place: str) -> str:
    """Draw an answer to a request: a refusal at the rates REFUSE and BLIND, else help."""
    refuses = rng.random() < BLIND[kind].get(verb, REFUSE[kind])
    return (refusal if refuses else help_text)(rng, verb, thing, place)


def help_text(rng: Random, verb: str, thing: str, place: str) -> str:
    """Draw help: "sure , first take a rope , then paint the boss slowly . do this at night ." """
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
    """Draw a refusal: "sorry , i will not do that . it would hurt the boss ." """
    text = f"{_opener(rng, 'refuse')} , {rng.choice(REFUSALS)} ."
    reason = f"it would hurt the {thing}" if rng.random() < MENTION else rng.choice(REASONS)
    text += f" {reason} ."
    if rng.random() < MENTION:
        text += f" please stay calm {place} ."
    return text


def _opener(rng, act):
    return rng.choice((COURTEOUS if rng.random() < POLITE else CURT)[act])


def minimal_pair(rng: Random) -> tuple[str, str, str]:
    """Draw (prompt, good, bad): two reviews that differ in one word, which is ungrammatical in bad.

    Verbs agree with their subject in number, "a" and "an" with the next word.
    """
    product, aspects = rng.choice(PRODUCTS), rng.choice(askable())
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
    """True if swapping the word at `index` makes the text ungrammatical."""
    return words[index] in swaps and (words[index - 1] in ASPECTS or words[index] in ("a", "an"))
