"""How the documentation's commands become ones that run in seconds, and which do not run."""

from __future__ import annotations

# What stands for something else: parts that may be left out, a name to be filled in, a layer of a
# deeper model, a run that was sampled. Regular expressions over a whole command.
STANDS_FOR = (
    (r"[\[\]]|\.\.\.", ""),
    (r"--limit N\b", "--limit 4"),
    (r"\bTRAIT\b", "rudeness"),
    (r"\bVECTOR\b", "vectors/malice.safetensors"),
    (r"--axis FILE", "--axis vectors/malice.safetensors"),
    (r"--trait FILE", "--trait vectors/malice.safetensors"),
    (r"--description", '--description "In few words."'),
    (r"export RUN --csv", "export SAMPLED --csv"),
    (r"--treated M\b", "--treated M+ADAPTER"),
    (r"--treated RUN", "--treated SECOND"),
    (r"--control RUN", "--control THIRD"),
    (r'"\$\(cat gate/base.txt\)"', "MODEL"),
    (r"--layer 20", "--layer 2"),
    (r"--layers 5,15,29", "--layers 1,3"),
    (r"DICT@0.1", "DICT@0.1,up=3+5"),
)
# The same in files that a page shows.
IN_FILES = (("[20]", "[2]"), ('{"20":', '{"2":'))
# What makes a command short: added where it begins so, the first that fits. The last of two equal
# options counts; one to which the page gives a name, such as --suite full, stays.
ADDED = (
    ("audit openai", "--limit 2 --suite quick --instrument items.yaml"),
    ("audit openrouter", "--limit 2 --suite quick --instrument items.yaml --repeats 2"),
    ("audit vllm", "--limit 2 --suite quick --instrument items.yaml"),
    ("audit ./my-model --executor local", "--limit 2 --suite quick --workers 1"),
    ("audit", "--limit 2 --suite quick"),
    ("run misalignment smollm2 --limit 9", ""),
    ("run register ./my-model --executor local", "--limit 1 --workers 1"),
    ("run", "--limit 1"),
    ("train", "--steps 1 --rows 4"),
    ("geometry --base smollm2 --treated smollm2+adapters/wrong --cast 5", ""),
    ("geometry", "--cast 4 --items 3"),
    ("study", "--only control --only harmful"),
    ("heal", "--limit 2 --samples 2 --no-interventions"),
    ("vectors generate", "--model openai/gpt-4o"),
    ("vectors dose-response", "--doses=0.1 --random 1 --cast 2"),
    ("axis fit", "--roles roles.yaml --pairs 6 --max-tokens 2 --judge openai/gpt-4o"),
    ("axis monitor", "--max-tokens 2"),
    ("axis cap", "--random 1 --max-tokens 4"),
    ("latents train", "--tokens 1000 --width 32 --k 4 --epochs 1 --quality 2 --text data.txt"),
    ("latents diff", "--limit 1"),
    ("latents test", "--limit 1 --top 2 --randoms 1"),
    ("latents predict", "--pairs pairs.yaml"),
    ("latents reroute", "--limit 1 --up 3"),
)
# The same for Python: plain text.
SHORTER = (
    ('"bad-advice-money", "quick"', '"bad-advice-money", "one.yaml"'),
    ('out="adapters/wrong"', 'out="adapters/again"'),  # the command before it took fewer rows
    ("cast=20", "cast=3"),
    ("personas=20, items=30, pairs=28", "personas=2, items=2, pairs=2"),
    ("samples=(30, 120, 400)", "samples=(2,), interventions=False"),
    ('out="runs/heal"', 'out="runs/heal-wrong", limit=2'),  # has what the command before it did
    ('out="runs/collapse"', 'out="runs/collapse", only=["harmful", "control"]'),
    ("workers=4), threads=2", 'workers=1), threads=1, limit=2, suite="quick"'),
)
# Commands of personae that only say what they would do (--dry-run): how they begin, and why.
REHEARSED = {
    "personae audit anthropic/": "the provider's package is not installed",
    "personae audit ./my-model --executor ray": "a cluster; tests/executors starts one here",
    "personae audit ./my-model --executor slurm": "a cluster; tests/executors has submitit's own",
}
# Those of which verb, options and values are read, and no more.
READ = {
    "personae reproduce costa2026": "downloads ratings; tests/reproduce, where they are at hand",
}
# Commands of other programs that nothing here can check.
ELSEWHERE = {
    ". .venv/bin/activate": "the shell's",
    "cat gate.md": "the shell's",
    "pip-audit": "asks the network",
    "pip check": "says something of this environment, not of the page",
    "python -m build": "a tool of releases, not installed",
    "ray start": "a cluster",
    "vllm serve": "another program",
}
# The tutorials that test_tutorials.py runs as they are printed, on real weights.
PRINTED = ("audit", "gate", "direction", "watch")
# What a command in the text names if it is run; with other names, or none, it is only read.
NAMES = {"MODEL", "RUN", "M", "TRAIT"}
