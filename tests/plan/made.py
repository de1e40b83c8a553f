"""Profiles made by hand, in which nothing is left to chance."""

from dataclasses import replace
from itertools import pairwise

from pprs.plan.predict import Machine, Setting
from pprs.plan.profile import Curve, Layer, Link, Profile, Times


def times_of(forward, backward, *, per_row=0.0, sent=0.0, size=0, kept=0.0, **more):
    """Layers whose passes take these seconds, whatever the rows, and `per_row` for each of them."""
    layers = tuple(
        Layer(
            f"l{i}",
            Curve.line(f, per_row),
            Curve.line(b, per_row),
            Curve.line(0.0, kept),
            Curve.line(sent),
            size,
        )
        for i, (f, b) in enumerate(zip(forward, backward, strict=True))
    )
    return Times(more.pop("processes", 1), more.pop("smoothed", True), layers, **more)


def unit(layers):
    return times_of([1.0] * layers, [1.0] * layers)


def profile_of(times, *, batch=8, cores=2, link=None, ties=(), processes=(1, 2)):
    """The same times for all kinds of passes."""
    kinds = tuple(
        replace(times, smoothed=smoothed, processes=count)
        for count in processes
        for smoothed in (True, False)
    )
    return Profile("made", batch, cores, kinds, link or Link(), ties)


def machine(devices, **more):
    return Machine((1.0,) * devices, **more)


def cut_at(layers, *places):
    bounds = [0, *places, layers]
    return tuple(range(a, b) for a, b in pairwise(bounds))


def setting(schedule, cut, microbatches, **more):
    return Setting(schedule, cut, microbatches, microbatches, more.pop("rows", 1), **more)
