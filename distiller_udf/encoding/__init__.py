"""Pairs of records as likenesses that a pretrained encoder sees: each record is encoded once, its tokens compared."""

from distiller_udf.encoding.features import EncoderFeatures
from distiller_udf.encoding.token_encoder import PRECISIONS

__all__ = ["PRECISIONS", "EncoderFeatures"]
