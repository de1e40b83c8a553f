"""Hugging Face's `Trainer` over the stages of a pipeline."""

from transformers import Trainer

from pprs.integrations.pipelined import Pipelined


class PipelinedTrainer(Pipelined, Trainer):
    """A `transformers.Trainer` whose model is cut into stages, one a process; see `Pipelined`.

    Args:
        perturbation: what is averaged; by default nothing is perturbed.
        pipeline: other arguments of `pprs.pipeline.Pipeline`, such as `{"microbatches": 4}`.
        All other arguments are those of `Trainer`.

    Example:
        In a script that `torchrun --nproc-per-node 2` starts:
        `PipelinedTrainer(model=model, args=arguments, train_dataset=data).train()`
    """
