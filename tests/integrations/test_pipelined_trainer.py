"""Hugging Face's Trainer over two stages, against the same script in one process."""

import tempfile

import pytest
import torch
import torch.distributed as dist
from pipeline.networks import refused
from pipeline.ranks import on_ranks
from torch.nn.functional import cross_entropy
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Qwen2Config,
    Qwen2ForCausalLM,
    Trainer,
    TrainingArguments,
)

import pprs
from pprs.integrations import PipelinedTrainer, SmoothedTrainer

pytestmark = [pytest.mark.dist, pytest.mark.slow]
LAW = pprs.Perturbation.filter(0.02, samples=4)
STEPS, HALF = 4, 2


def bert():
    """A classifier; each example is a row of tokens."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, num_labels=3,
        intermediate_size=12, max_position_embeddings=8, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    rows = torch.randint(20, (12, 6), generator=torch.Generator().manual_seed(0))
    data = [{"input_ids": row, "labels": row[0] % 3} for row in rows]
    return BertForSequenceClassification(config), data, {}


class Regularised(BertForSequenceClassification):
    """Its loss is not that of its outputs alone."""

    def forward(self, input_ids=None, labels=None, **more):
        found = super().forward(input_ids, labels=labels, **more)
        found.loss = None if labels is None else found.loss + 1
        return found


def qwen():
    """A language model with tied weights; sequences have different lengths."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=17, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, intermediate_size=12, max_position_embeddings=8, bos_token_id=0,
        eos_token_id=0, pad_token_id=0, tie_word_embeddings=True,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    lengths = [7 if i in (1, 5) else 3 + i % 3 for i in range(12)]
    data = [torch.randint(17, (n,), generator=generator).tolist() for n in lengths]
    return Qwen2ForCausalLM(config), data, dict(data_collator=padded)


def padded(rows):
    longest = max(map(len, rows))
    tokens, mask, labels = [], [], []
    for row in rows:
        more = longest - len(row)
        tokens.append(row + [0] * more)
        mask.append([1] * len(row) + [0] * more)
        labels.append(row + [-100] * more)
    names = "input_ids", "attention_mask", "labels"
    return dict(zip(names, map(torch.tensor, (tokens, mask, labels)), strict=True))


def accuracy(found):
    return {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())}


# How each is trained: the model, arguments of the trainers, and those of TrainingArguments.
ACCUMULATED = dict(gradient_accumulation_steps=2, max_grad_norm=0.5)
RUNS = {
    "lengths": (qwen, {}, ACCUMULATED | dict(weight_decay=0.1)),
    "smoothed": (bert, dict(perturbation=LAW), ACCUMULATED),
    "own loss": (bert, dict(compute_loss_func=lambda out, y, **_: cross_entropy(out.logits, y)),
                 dict(optim="schedule_free_adamw", lr_scheduler_type="constant", max_steps=2)),
    "bf16": (bert, {}, dict(bf16=True, max_grad_norm=0.0, max_steps=2)),
    "copies": (bert, {}, dict(max_steps=2)),
}  # fmt: skip


def made(kind, run, folder, **options):
    build, given, arguments = RUNS[run]
    model, data, more = build()
    settings = dict(
        output_dir=folder, max_steps=STEPS, per_device_train_batch_size=4, seed=7,
        learning_rate=0.01, report_to=[], disable_tqdm=True, use_cpu=True, logging_steps=1,
        dataloader_pin_memory=False, eval_strategy="steps", eval_steps=HALF, save_strategy="steps",
        save_steps=HALF, log_level="error", log_level_replica="error",
        load_best_model_at_end=run == "lengths", remove_unused_columns=run != "lengths",
    )  # fmt: skip
    if kind is PipelinedTrainer and run == "smoothed":
        given = given | dict(
            pipeline=dict(microbatches=1)
        )  # whose noise is that of SmoothedTrainer
    if build is bert:
        more = dict(compute_metrics=accuracy)
    return kind(
        model=model, args=TrainingArguments(**settings | arguments | options), train_dataset=data,
        eval_dataset=data[:5], **given, **more,
    )  # fmt: skip


def trained(trainer, checkpoint=None):
    """What it has said, and the parameters in the end."""
    trainer.train(checkpoint)
    names = "loss", "grad_norm", "learning_rate", "eval_loss", "eval_accuracy"
    said = [{n: log[n] for n in names if n in log} for log in trainer.state.log_history]
    predicted = trainer.predict(trainer.eval_dataset).predictions
    return [log for log in said if log], torch.tensor(predicted), values(trainer.model)


def values(model):
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def refusals(folder):
    def given(**options):
        return refused(lambda: made(PipelinedTrainer, "bf16", folder, **options).train())

    def step(build, change):
        trainer = made(PipelinedTrainer, build, folder)
        change(trainer)
        return refused(trainer.train)

    def two_labels(trainer):
        trainer.label_names = ["input_ids", "labels"]

    def another_loss(trainer):
        trainer.model.__class__ = Regularised

    trainer = made(PipelinedTrainer, "bf16", folder)
    return {
        "activation_checkpointing": given(activation_checkpointing=True),
        "auto_find_batch_size": given(auto_find_batch_size=True),
        "the optimizer must be the same": given(learning_rate=0.01 + dist.get_rank()),
        "optim='lomo'": given(optim="lomo"),
        "outputs of a training step": refused(
            lambda: trainer.compute_loss(trainer.model, {}, return_outputs=True)
        ),
        "one tensor of labels": step("bf16", two_labels),
        "pass compute_loss_func=": step("bf16", another_loss),
    }


def two(folder):
    found = {run: trained(made(PipelinedTrainer, run, f"{folder}/{run}/two")) for run in RUNS}
    again = made(PipelinedTrainer, "lengths", f"{folder}/again")
    found["resumed"] = trained(again, f"{folder}/lengths/one/checkpoint-{HALF}")
    return found, refusals(f"{folder}/refused")


@pytest.fixture(scope="module")
def results():
    """What one process finds, each of two, and one that goes on where two have been."""
    with tempfile.TemporaryDirectory() as folder:
        one = {
            run: trained(made(SmoothedTrainer if run == "smoothed" else Trainer, run,
                              f"{folder}/{run}/one"))
            for run in RUNS
        }  # fmt: skip
        ranks = on_ranks(2, two, folder)
        again = made(Trainer, "lengths", f"{folder}/again")
        again = trained(again, f"{folder}/lengths/two/checkpoint-{HALF}")
        saved = {
            run: values(type(RUNS[run][0]()[0]).from_pretrained(f"{folder}/{run}/two/checkpoint-4"))
            for run in ("lengths", "smoothed")
        }
        yield one, ranks, again, saved


def close(found, right, tolerance=2e-5):
    torch.testing.assert_close(found, right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("run", RUNS)
def test_two_stages_train_log_evaluate_and_predict_as_one_process(results, run):
    one, ranks, *_ = results
    start = values(RUNS[run][0]()[0])
    assert max((one[run][2][n] - start[n]).abs().max() for n in start) > 1e-2
    for rank, _ in ranks:
        close(rank[run], one[run], 2e-2 if run == "bf16" else 2e-5)


def test_what_they_save_is_the_whole_model(results):
    one, _, _, saved = results
    close(saved["smoothed"], one["smoothed"][2])
    assert saved["lengths"].keys() == one["lengths"][2].keys()


def test_a_run_goes_on_from_the_checkpoint_of_another_number_of_processes(results):
    one, ranks, again, _ = results
    for found in (again, *(rank["resumed"] for rank, _ in ranks)):
        close(found[1:], one["lengths"][1:])


def test_what_cannot_be_is_refused_in_a_sentence(results):
    for _, said in results[1]:
        for why, error in said.items():
            assert why in error, (why, error)


def test_the_same_script_runs_in_one_process(tmp_path, results):
    try:
        found = trained(made(PipelinedTrainer, "smoothed", str(tmp_path)))
    finally:
        dist.destroy_process_group()
    close(found, results[0]["smoothed"])
