"""What networks are made of, as plain modules that lanes can map: activations, norms, layers, whole architectures."""

from ravine.blocks.activations import ACTIVATIONS, Maxout, PReLU, Swish, activation_of
from ravine.blocks.autoencoder import Autoencoder
from ravine.blocks.layers import cnn, mlp
from ravine.blocks.norms import NORMS, PLACES, RMSNorm, norm_layer
from ravine.blocks.recurrent import LSTM, RNN, recurrent
from ravine.blocks.residual import Residual, resmlp, resnet
from ravine.blocks.transformer import Attention, transformer

__all__ = [
    "ACTIVATIONS",
    "LSTM",
    "NORMS",
    "PLACES",
    "RNN",
    "Attention",
    "Autoencoder",
    "Maxout",
    "PReLU",
    "RMSNorm",
    "Residual",
    "Swish",
    "activation_of",
    "cnn",
    "mlp",
    "norm_layer",
    "recurrent",
    "resmlp",
    "resnet",
    "transformer",
]
