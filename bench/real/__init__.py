"""Study the paper's tables and figures on trained models: ``python -m bench.real --facts FILE...``.

SmolLM2 is asked facts of MyriadLAMA (the paper's own ``probing_data/*.feather``, MCEval8K's
``fact/myriadlama/train.json``) and, for the probes, the tasks of MCEval8K; AntiBERTy is asked for
masked residues of an antibody. Every step keeps what it finished, and the same command goes on
after an interruption; at the end ``docs/real.md`` is written from what was kept.
"""
