"""Why it works: the unit-time pipeline model and its limits. No deep-learning code in here."""

from typing import TYPE_CHECKING

from pprs._renamed import renamed
from pprs.theory import bounds
from pprs.theory.adam import Adam
from pprs.theory.choose import PPRSSettings, choose
from pprs.theory.clock import Clock
from pprs.theory.clock_table import clock_table
from pprs.theory.graph import Graph, Node
from pprs.theory.machine import Machine
from pprs.theory.makespan import Operation, makespan, pipeline_time, timetable
from pprs.theory.measured import MeasuredPPRS, samples_for
from pprs.theory.methods import (
    PPRS,
    Accelerated,
    GPipe,
    GradientDescent,
    PipeDream,
    RandomizedSmoothing,
    Sequential,
    SubgradientDescent,
)
from pprs.theory.objective import Component, Identity, Objective
from pprs.theory.oracle import Oracle
from pprs.theory.orders import ScheduleName
from pprs.theory.procedure import Procedure, Trajectory, run
from pprs.theory.proved import ProvedPPRS
from pprs.theory.replicas import data_parallel, on_chain
from pprs.theory.vector import ModelError, Vector
from pprs.theory.worst_case import LargestCoordinate, NonSmooth, SmoothConvex, SmoothNonconvex
from pprs.theory.zero_chain import Growth, fastest_growth, growth_of

__all__ = [
    "PPRS",
    "Accelerated",
    "Adam",
    "Clock",
    "Component",
    "GPipe",
    "GradientDescent",
    "Graph",
    "Growth",
    "Identity",
    "LargestCoordinate",
    "Machine",
    "MeasuredPPRS",
    "ModelError",
    "Node",
    "NonSmooth",
    "Objective",
    "Operation",
    "Oracle",
    "PPRSSettings",
    "PipeDream",
    "Procedure",
    "ProvedPPRS",
    "RandomizedSmoothing",
    "ScheduleName",
    "Sequential",
    "SmoothConvex",
    "SmoothNonconvex",
    "SubgradientDescent",
    "Trajectory",
    "Vector",
    "bounds",
    "choose",
    "clock_table",
    "data_parallel",
    "fastest_growth",
    "growth_of",
    "makespan",
    "on_chain",
    "pipeline_time",
    "run",
    "samples_for",
    "timetable",
]

if not TYPE_CHECKING:  # which would take any name for one of these
    __getattr__ = renamed(
        __name__,
        {
            "Choice": "PPRSSettings",
            "Held": "Vector",
            "Method": "Procedure",
            "Run": "Trajectory",
            "Schedule": "ScheduleName",
        },
    )
