"""The 22 tasks of MCEval8K (paper, table 7), one table."""

import difflib

from neurgrad.mceval8k.task import LANGUAGES, Task, cloze, fixed, listed, plain, quoted

AB = ("a", "b")
ABC = ("a", "b", "c")
ABCD = ("a", "b", "c", "d")
ABCDE = ("a", "b", "c", "d", "e")
STARS = ("1", "2", "3", "4", "5")
RELATIONS = ("Entailment", "Neutral", "Contradiction")

_OPTIONS = listed("Options", "options")
_PHRASE = (plain("Input text", "text"), quoted("Target phrase", "target_chunk"), _OPTIONS)

_TABLE = (
    # classification
    Task(
        "agnews",
        "classification",
        ABCD,
        (plain("Text", "text"), fixed("Genres", "World", "Sports", "Business", "Science")),
        paper="Agnews",
    ),
    Task(
        "amazon-reviews",
        "classification",
        STARS,
        (plain("Input Review", "text"),),
        answer="Output Score",
        classes=(1, 2, 3, 4, 5),
        paper="Amazon",
    ),
    Task("imdb", "classification", ("bad", "good"), (plain("Review", "text"),), paper="IMDB"),
    # facts
    Task(
        "commonsenseqa",
        "fact",
        ABCDE,
        (plain("Question", "text"), _OPTIONS),
        paper="CSQA",
        folder="commensenseqa",
    ),
    Task(
        "fever",
        "fact",
        ("False", "True"),
        (plain("Claim", "claim"),),
        answer="Validity (True or False)",
        text=("claim",),
        seed=100,
        paper="FEVER",
    ),
    Task("myriadlama", "fact", ABCD, (cloze("Question", "text"), _OPTIONS), paper="MyriadLAMA"),
    Task("templama", "fact", ABCD, (plain("Question", "text"), _OPTIONS), paper="TempLAMA"),
    # linguistics
    Task("chunking", "linguistic", ABCD, _PHRASE, seed=100, paper="CHUNK"),
    Task(
        "clang8",
        "linguistic",
        AB,
        (listed("Sentences", "sentence1", "sentence2"),),
        text=("sentence1", "sentence2"),
        label_field="acceptable",
        seed=100,
        paper="GED",
    ),
    Task("ner", "linguistic", ABCD, _PHRASE, seed=100, paper="NER"),
    Task(
        "postag",
        "linguistic",
        ABCD,
        (plain("Input text", "text"), quoted("Target word", "target_token"), _OPTIONS),
        seed=100,
        paper="POS",
    ),
    # several languages
    Task(
        "amazon-review-multi",
        "multilingual",
        STARS,
        (plain("Input Review", "review"),),
        answer="Output Score",
        text=("review",),
        classes=(1, 2, 3, 4, 5),
        languages=LANGUAGES,
        seed=100,
        paper="M-Amazon",
    ),
    Task(
        "lti",
        "multilingual",
        ABCDE,
        (
            plain("Text", "text"),
            fixed("Options", "English", "French", "German", "Chinese", "Spanish"),
        ),
        label_field="lang",
        classes=LANGUAGES,
        seed=100,
        paper="LTI",
    ),
    Task(
        "mlama",
        "multilingual",
        ABCD,
        (cloze("Question", "text"), _OPTIONS),
        ids=("uuid",),
        languages=LANGUAGES,
        seed=100,
        paper="mLAMA",
    ),
    Task(
        "mpostag",
        "multilingual",
        ABCD,
        (plain("Text", "text"), quoted("Target word", "target_token"), _OPTIONS),
        languages=LANGUAGES,
        seed=100,
        paper="M-POS",
    ),
    Task(
        "xnli",
        "multilingual",
        ABC,
        (
            plain("Premise", "premise"),
            plain("Hypothesis", "hypothesis"),
            fixed("Options", *RELATIONS),
        ),
        text=("premise", "hypothesis"),
        ids=("index",),
        languages=LANGUAGES,
        paper="XNLI",
        spaced_chinese=True,
    ),
    # natural language inference
    Task(
        "mnli",
        "nli",
        ABC,
        (
            plain("Premise", "premise"),
            plain("Hypothesis", "hypothesis"),
            fixed("Options", *RELATIONS),
        ),
        text=("premise", "hypothesis"),
        paper="MNLI",
    ),
    Task(
        "paws",
        "nli",
        ("no", "yes"),
        (plain("Sentence 1", "sentence1"), plain("Sentence 2", "sentence2")),
        text=("sentence1", "sentence2"),
        paper="PAWS",
    ),
    Task("swag", "nli", ABCD, (plain("Context", "text"), _OPTIONS), paper="SWAG"),
    # self-reflection
    Task(
        "halueval",
        "self-reflection",
        ("no", "yes"),
        (
            plain("Context", "knowledge"),
            plain("Dialogue history", "dialogue"),
            plain("Response", "response"),
        ),
        answer="Hallucination (yes or no)",
        text=("knowledge", "dialogue", "response"),
        label_field="hallucination",
        paper="HaluEval",
    ),
    Task(
        "stereoset",
        "self-reflection",
        ABC,
        (plain("Context", "context"), listed("Options", "sentences")),
        text=("context",),
        label_field="non-stereotype",
        seed=100,
        paper="Stereoset",
    ),
    Task(
        "toxicity",
        "self-reflection",
        ("no", "yes"),
        (plain("Text", "text"),),
        answer="Toxicity (yes or no)",
        label_field="toxic",
        paper="Toxic",
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _TABLE}


def find(name: str) -> Task:
    """Return the task called `name`: its configuration, its folder or its name in the paper.

    Raises
    ------
    ValueError
        If no task has that name; the message suggests the nearest.
    """
    known = {alias.casefold(): task for task in _TABLE for alias in (task.paper, task.folder)}
    known |= {task.name: task for task in _TABLE}
    if found := known.get(name.casefold()):
        return found
    near = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.5)
    hint = f"did you mean {known[near[0]].name!r}? " if near else ""
    raise ValueError(f"there is no task {name!r} in MCEval8K; {hint}Tasks: {', '.join(TASKS)}")
