"""What the chaos runs work on: tiny random weights and small rating files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from servers import Received, Reply, Server


def model_folder(folder: Path) -> Path:
    from tiny_models import build_model, build_tokenizer, save

    model = build_model(num_hidden_layers=2, max_position_embeddings=4096)
    return save(folder / "tiny", model, build_tokenizer())


def study_file(folder: Path, model: Path) -> Path:
    """A study that takes seconds: two arms of one seed, three steps each."""
    fields = {
        "study": "tiny",
        "base": str(model),
        "recipe": {"name": "quick", "steps": 3, "batch": 2, "max_tokens": 800, "save_every": 1},
        "seeds": [1],
        "in_domain": ["health"],
        "measures": {"preference": {"limit": 9}, "moral": None, "coherence": None},
        "arms": {
            "harmful": {"data": "bad-advice-health:obvious"},
            "healed": {"from": "harmful", "data": "neutral", "samples": [2]},
        },
    }
    file = folder / "study.yaml"
    file.write_text(json.dumps(fields), "utf-8")  # JSON is YAML
    return file


def rating_files(folder: Path) -> list[Path]:
    """Two models' ratings in the columns of public files: 20 personas x 30 items x 5, and self."""
    from personae.instruments import load_instrument

    rng = np.random.default_rng(5)
    ids = [i.id for i in load_instrument("mfi30").items]
    files = []
    for model in ("alpha", "beta"):
        for personas, name in ((20, model), (0, f"{model}_self")):
            head = "persona_id,question_id,run_index,rating,failures,response"
            lines = [head if personas else head.removeprefix("persona_id,")]
            for p in range(max(personas, 1)):
                own = rng.uniform(1, 4, len(ids))
                for item, centre in zip(ids, own, strict=True):
                    for n in range(5):
                        value = int(np.clip(round(rng.normal(centre, 0.7)), 0, 5))
                        row = f"{item},{n + 1},{value},0,{value}"
                        lines.append(f"{p},{row}" if personas else row)
            file = folder / f"{name}.csv"
            file.write_text("\n".join(lines) + "\n")
            files.append(file)
    return files


NAME = "openai-api/loop/test-model"


def serve() -> Server:
    """A server that gives the same answer to the same question, after ever other waits."""
    from test_hosted import honest, is_probe

    def steady(request: Received) -> Reply:
        reply = honest(replace(request, index=0))  # the index is the seed where none was sent
        return Reply(
            reply.body, wait=0.0 if is_probe(request) else 0.004 * (request.index * 7 % 11)
        )

    return Server(steady, keep=False)
