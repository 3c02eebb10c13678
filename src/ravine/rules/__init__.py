"""Equations only: each optimizer is one small pure function, and everything else is derived from it."""
