"""Name the artefacts of the paper that commands offer, of prompts and of tasks.

Spelled out here because their homes import torch; a test holds the names against those.
"""

OF_PROMPTS = (
    "fig2",
    "table1",
    "table2",
    "fig3",
    "fig4",
    "fig5",
    "steer",
    "table5",
    "fig10",
    "fig11",
    "fig12",
    "fig13",
    "fig14",
)
OF_TASKS = (
    "table3",
    "table4",
    "table8",
    "table9",
    "fig6",
    "fig6-train",
    "fig7",
    "fig8",
    "fig9",
    "fig15",
    "signs",
    "magnitude",
)
