"""An autoencoder: down to a code of few numbers, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from ravine.blocks.layers import mlp


class Autoencoder(nn.Module):
    """z = decode(encode(x)), trained on ||z - x||^2; the layers of the decoder mirror those of the encoder.

    ``sizes`` goes from the input to the code, which is linear. [n, ...] to [n, outputs], by default the flat input's
    size. With the activation "identity" it spans the principal subspace (Baldi & Hornik 1989,
    doi:10.1016/0893-6080(89)90014-2). Reference: Hinton & Salakhutdinov 2006, doi:10.1126/science.1127647.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        outputs: int | None = None,
        activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0,
        norm: str = "none",
        place: str = "before",
    ) -> None:
        super().__init__()
        back = [*sizes[:0:-1], sizes[0] if outputs is None else outputs]
        self.encode = mlp(sizes, activation, dropout, norm, place)
        self.decode = mlp(back, activation, dropout, norm, place)

    def forward(self, x: Tensor) -> Tensor:
        """The input as the code tells it."""
        return self.decode(self.encode(x))
