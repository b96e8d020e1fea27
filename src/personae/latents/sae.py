"""`SAE`: a sparse autoencoder of residual states, for encoding and decoding.

With x [.., d] states, m latents, W_enc [d, m], W_dec [m, d]:

    x'   = norm(x) - b_dec            (b_dec only where `centred`)
    p    = x' W_enc + b_enc           pre-activations
    z    = ReLU(p)                                       standard
           p where p > threshold and p > 0, else 0       jumprelu (BatchTopK after its training)
           ReLU(p) at the k largest p, else 0            topk
    x^   = norm^-1(z W_dec + b_dec)

norm is nothing, `layer_norm` (mean 0, sd 1, each state by itself) or `constant_norm_rescale`
(length sqrt d); both are undone with the same state's numbers. Arithmetic is in float32.

The conventions are those of SAELens, so that its files load (see files.py); the tests compare.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from personae.errors import PersonaeError

if TYPE_CHECKING:
    import torch

Kind = Literal["standard", "jumprelu", "topk"]
Norm = Literal["none", "layer_norm", "constant_norm_rescale"]
LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True, eq=False)
class SAE:
    """See the module's head.

    Args:
        layer: the block whose output it reads; 0 is the first block.
        threshold: [m], jumprelu alone. k: topk alone.
        centred: whether b_dec is taken off before encoding.
        model: name of the model whose states it was made from; empty where not known.
        about: anything else worth recording (JSON).
    """

    kind: Kind
    W_enc: torch.Tensor
    b_enc: torch.Tensor
    W_dec: torch.Tensor
    b_dec: torch.Tensor
    layer: int
    threshold: torch.Tensor | None = None
    k: int = 0
    centred: bool = True
    norm: Norm = "none"
    model: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.W_dec.ndim != 2:
            raise PersonaeError(f"dictionary: W_dec is {tuple(self.W_dec.shape)}, not [m, d]")
        m, d = self.W_dec.shape
        expected = {"W_enc": (d, m), "b_enc": (m,), "b_dec": (d,)}
        expected |= {"threshold": (m,)} if self.kind == "jumprelu" else {}
        for name, shape in expected.items():
            found = getattr(self, name)
            if found is None or tuple(found.shape) != shape:
                had = "missing" if found is None else tuple(found.shape)
                raise PersonaeError(f"dictionary: {name} is {had} and should be {shape}")
            if not bool(found.isfinite().all()):
                raise PersonaeError(f"dictionary: {name} holds values that are not finite")
        if self.kind not in get_args(Kind) or self.norm not in get_args(Norm):
            raise PersonaeError(f"dictionary: no kind {self.kind!r} with norm {self.norm!r}")
        if self.kind == "topk" and not 1 <= self.k <= m:
            raise PersonaeError(f"dictionary: topk needs k between 1 and {m}, not {self.k}")

    @property
    def width(self) -> int:
        """m, the number of latents."""
        return int(self.W_dec.shape[0])

    @property
    def hash(self) -> str:
        """sha256 of the weights and of how they are used."""
        settings = (self.kind, self.layer, self.k, self.centred, self.norm)
        digest = hashlib.sha256(repr(settings).encode())
        for one in (self.W_enc, self.b_enc, self.W_dec, self.b_dec, self.threshold):
            if one is not None:
                digest.update(one.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> SAE:
        """The same dictionary on a device."""
        from dataclasses import replace

        moved = {name: getattr(self, name).to(device) for name in ("W_enc", "b_enc", "W_dec")}
        threshold = None if self.threshold is None else self.threshold.to(device)
        return replace(self, **moved, b_dec=self.b_dec.to(device), threshold=threshold)

    def pre(self, x: torch.Tensor) -> torch.Tensor:
        """p [.., m] of states x [.., d]."""
        inside, _, _ = self._normed(x.float())
        if self.centred:
            inside = inside - self.b_dec
        found: torch.Tensor = inside @ self.W_enc + self.b_enc
        return found

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """z [.., m] of states x [.., d]."""
        return self.activate(self.pre(x))

    def activate(self, p: torch.Tensor) -> torch.Tensor:
        """z [.., m] of pre-activations p [.., m]."""
        if self.kind == "standard":
            return p.relu()
        if self.threshold is not None:
            return p.relu() * (p > self.threshold)
        top = p.topk(self.k, dim=-1, sorted=False)
        return p.new_zeros(p.shape).scatter(-1, top.indices, top.values.relu())

    def decode(self, z: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
        """x^ [.., d] of latents z [.., m].

        Args:
            like: the states that were encoded; needed where the norm has to be undone.

        Raises:
            PersonaeError: a norm to undo, and no states to undo it with.
        """
        inside: torch.Tensor = z @ self.W_dec + self.b_dec
        if self.norm == "none":
            return inside
        if like is None:
            raise PersonaeError(f"decoding undoes {self.norm}: it needs the states encoded")
        _, centre, scale = self._normed(like.float())
        return inside * scale + centre

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """x^ of states x [.., d]."""
        return self.decode(self.encode(x), x)

    def direction(self, latent: int) -> torch.Tensor:
        """[d] what one unit of a latent adds to the state.

        Raises:
            PersonaeError: there is no such latent.
        """
        if not 0 <= latent < self.width:
            raise PersonaeError(f"no latent {latent}: the dictionary has 0 to {self.width - 1}")
        return self.W_dec[latent]

    def _normed(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The states as the encoder sees them, and the centre and scale that undo it."""
        import torch

        zero, one = x.new_zeros(()), x.new_ones(())
        if self.norm == "none":
            return x, zero, one
        if self.norm == "layer_norm":
            centre = x.mean(-1, keepdim=True)
            sd = (x - centre).std(-1, keepdim=True)
            return (x - centre) / (sd + LAYER_NORM_EPS), centre, sd
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True) / x.shape[-1] ** 0.5
        return x / scale, zero, scale
