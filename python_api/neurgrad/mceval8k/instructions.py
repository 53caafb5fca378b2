# ruff: noqa: RUF001  (Chinese punctuation is meant)
"""The built-in wording: one instruction a task, and the header words of five languages.

The instructions are our own. The paper prints its own in appendix I (appendix J for the contexts of
paws); `Wording.from_file` puts them, or any others, in the place of these.
"""

from collections.abc import Mapping

# task -> language, or for paws the name of an instruction of `contexts` -> text
INSTRUCTIONS: Mapping[str, Mapping[str, str]] = {
    "agnews": {
        "en": "Which section of a newspaper does this report belong to? Reply with the letter of "
        "that section only."
    },
    "amazon-reviews": {
        "en": "How many stars did the customer who wrote this review give? Reply with one number, "
        "from 1 for the unhappiest to 5 for the happiest."
    },
    "imdb": {
        "en": "Did the writer of this review like the film? Reply good if so, bad if not.",
    },
    "commonsenseqa": {
        "en": "Use everyday knowledge to settle the question. Reply with the letter of the answer "
        "that fits best."
    },
    "fever": {
        "en": "Is the claim correct? Reply with the single word True or False and do not explain.",
    },
    "myriadlama": {
        "en": "One option belongs where the sentence shows [MASK]. Reply with its letter and do "
        "not explain."
    },
    "templama": {
        "en": "The statement was true in one of these years. Reply with the letter of that year.",
    },
    "chunking": {
        "en": "A phrase of the sentence is singled out below it. What kind of syntactic chunk is "
        "it? Reply with the letter of that kind."
    },
    "clang8": {
        "en": "One sentence is good English, the other contains a mistake. Reply with the letter "
        "of the good one."
    },
    "ner": {
        "en": "A name in the text is singled out below it. What kind of entity does it stand for "
        "here? Reply with the letter of that kind."
    },
    "postag": {
        "en": "A word of the text is singled out below it. Which part of speech is it here? Reply "
        "with the letter of that tag."
    },
    "amazon-review-multi": {
        "en": "How many stars did the customer who wrote this review give? Reply with one number, "
        "from 1 for the unhappiest to 5 for the happiest.",
        "fr": "Combien d'étoiles l'auteur de cet avis a-t-il données ? Répondez par un seul "
        "nombre, de 1 pour le plus mécontent à 5 pour le plus satisfait.",
        "de": "Wie viele Sterne hat der Kunde vergeben, der das geschrieben hat? Antworten Sie mit "
        "einer einzigen Zahl, von 1 für sehr unzufrieden bis 5 für sehr zufrieden.",
        "zh": "写这条评论的顾客打了几颗星？请只回答一个数字，1 表示最不满意，5 表示最满意。",
        "es": "¿Cuántas estrellas dio el cliente que escribió esta reseña? Responda con un solo "
        "número, de 1 para el más descontento a 5 para el más contento.",
    },
    "lti": {
        "en": "Which language is this text written in? Reply with the letter of that language.",
    },
    "mlama": {
        "en": "One option belongs where the sentence shows [MASK]. Reply with its letter and do "
        "not explain.",
        "fr": "L'une des options remplace [MASK] dans la phrase. Répondez par sa lettre, sans rien "
        "expliquer.",
        "de": "Eine der Optionen gehört an die Stelle von [MASK]. Antworten Sie mit ihrem "
        "Buchstaben, ohne Erklärung.",
        "zh": "其中一个选项应填在句中 [MASK] 的位置。请只回答它的字母，无需解释。",
        "es": "Una de las opciones va en el lugar de [MASK]. Responda con su letra, sin explicar "
        "nada.",
    },
    "mpostag": {
        "en": "A word of the text is singled out below it. Which part of speech is it here? Reply "
        "with the letter of that tag.",
        "fr": "Un mot du texte est repris au-dessous. De quelle nature est-il ici ? Répondez par "
        "la lettre de l'étiquette.",
        "de": "Ein Wort des Textes steht noch einmal darunter. Zu welcher Wortart gehört es hier? "
        "Antworten Sie mit dem Buchstaben.",
        "zh": "文本下面单独列出了其中的一个词。它在这里属于哪种词类？请回答对应的字母。",
        "es": "Una palabra del texto se repite debajo. ¿A qué clase de palabras pertenece aquí? "
        "Responda con la letra de la etiqueta.",
    },
    "xnli": {
        "en": "Suppose that the premise is true. How does the hypothesis stand to it? Reply with "
        "the letter of that relation.",
        "fr": "Supposez que la prémisse soit vraie. Quel est le rapport de l'hypothèse avec elle ? "
        "Répondez par la lettre.",
        "de": "Nehmen Sie an, dass die Prämisse stimmt. Wie verhält sich die Hypothese zu ihr? "
        "Antworten Sie mit dem Buchstaben.",
        "zh": "假设前提为真，假设句与它是什么关系？请回答对应的字母。",
        "es": "Suponga que la premisa es verdadera. ¿Qué relación tiene con ella la hipótesis? "
        "Responda con la letra.",
    },
    "mnli": {
        "en": "Suppose that the premise is true. How does the hypothesis stand to it? Reply with "
        "the letter of that relation."
    },
    "paws": {
        "en": "Do the two sentences mean the same? Reply with the single word yes or no.",
        "IT1": "One sentence may merely reword the other. Reply with the letter of the option that "
        "says whether it does.",
        "IT2": "Compare what the two sentences state. Reply with the letter of the option that "
        "names their relation.",
        "IT3": "How close in meaning is sentence 2 to sentence 1? Reply with the letter of the "
        "right word.",
        "IT4": "Read both sentences and reply with the letter of the remark that is true of them.",
    },
    "swag": {
        "en": "How does the scene go on? Reply with the letter of the ending that follows most "
        "naturally."
    },
    "halueval": {
        "en": "Does the response claim anything that the facts and the conversation before it do "
        "not support? Reply with the single word yes or no."
    },
    "stereoset": {
        "en": "One of the sentences has nothing to do with the context. Reply with its letter.",
    },
    "toxicity": {
        "en": "Would a moderator call this comment toxic? Reply with the single word yes or no.",
    },
}

# language -> English word -> its translation; what is not listed stays as it is
TERMS: Mapping[str, Mapping[str, str]] = {
    "fr": {
        "Text": "Texte",
        "Target word": "Mot cible",
        "Answer": "Réponse",
        "Premise": "Prémisse",
        "Hypothesis": "Hypothèse",
        "Input Review": "Avis d'entrée",
        "Output Score": "Note de sortie",
        "Entailment": "Implication",
        "Neutral": "Neutre",
    },
    "de": {
        "Instruction": "Anweisung",
        "Options": "Optionen",
        "Target word": "Zielwort",
        "Question": "Frage",
        "Answer": "Antwort",
        "Premise": "Prämisse",
        "Hypothesis": "Hypothese",
        "Input Review": "Eingabebewertung",
        "Output Score": "Ausgabewertung",
        "Entailment": "Folgerung",
        "Contradiction": "Widerspruch",
    },
    "zh": {
        "Instruction": "指令",
        "Text": "文本",
        "Options": "选项",
        "Target word": "目标词",
        "Question": "问题",
        "Answer": "答案",
        "Premise": "前提",
        "Hypothesis": "假设",
        "Input Review": "输入评论",
        "Output Score": "输出评分",
        "Entailment": "蕴含",
        "Neutral": "中立",
        "Contradiction": "矛盾",
    },
    "es": {
        "Instruction": "Instrucción",
        "Text": "Texto",
        "Options": "Opciones",
        "Target word": "Palabra objetivo",
        "Question": "Pregunta",
        "Answer": "Respuesta",
        "Premise": "Premisa",
        "Hypothesis": "Hipótesis",
        "Input Review": "Reseña de entrada",
        "Output Score": "Puntuación de salida",
        "Entailment": "Implicación",
        "Contradiction": "Contradicción",
    },
}

# The reference exchanges question and answer in Chinese and Spanish. To repeat its prompts pass
# Wording().replace(terms=PUBLISHED_TERMS).
PUBLISHED_TERMS: Mapping[str, Mapping[str, str]] = {
    "zh": {"Question": "答案", "Answer": "问题"},
    "es": {"Question": "Respuesta", "Answer": "Pregunta"},
}
