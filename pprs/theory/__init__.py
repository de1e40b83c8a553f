"""Why it works: the unit-time pipeline model and its limits. No deep-learning code in here."""

from pprs.theory import bounds
from pprs.theory.choose import Choice, choose
from pprs.theory.clock import Clock
from pprs.theory.graph import Graph, Node
from pprs.theory.held import Held, ModelError
from pprs.theory.machine import Machine
from pprs.theory.makespan import Operation, makespan, pipeline_time, timetable
from pprs.theory.methods import (
    PPRS,
    Accelerated,
    GPipe,
    GradientDescent,
    Method,
    Oracle,
    PipeDream,
    RandomizedSmoothing,
    Run,
    Sequential,
    SubgradientDescent,
    run,
)
from pprs.theory.objective import Component, Identity, Objective
from pprs.theory.orders import Schedule
from pprs.theory.replicas import data_parallel, on_chain
from pprs.theory.worst_case import NonSmooth, SmoothConvex, SmoothNonconvex
from pprs.theory.zero_chain import Growth, fastest_growth, growth_of

__all__ = [
    "PPRS",
    "Accelerated",
    "Choice",
    "Clock",
    "Component",
    "GPipe",
    "GradientDescent",
    "Graph",
    "Growth",
    "Held",
    "Identity",
    "Machine",
    "Method",
    "ModelError",
    "Node",
    "NonSmooth",
    "Objective",
    "Operation",
    "Oracle",
    "PipeDream",
    "RandomizedSmoothing",
    "Run",
    "Schedule",
    "Sequential",
    "SmoothConvex",
    "SmoothNonconvex",
    "SubgradientDescent",
    "bounds",
    "choose",
    "data_parallel",
    "fastest_growth",
    "growth_of",
    "makespan",
    "on_chain",
    "pipeline_time",
    "run",
    "timetable",
]
