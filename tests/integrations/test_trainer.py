"""Hugging Face's Trainer with the smoothed loss, against a loop by hand."""

import pytest
import torch
from torch.nn.utils import clip_grad_norm_
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainingArguments,
)

import pprs
from pprs.integrations import SmoothedLoss, SmoothedTrainer
from pprs.smoothing import derive_seed

pytestmark = pytest.mark.slow
LAW = pprs.Perturbation.filter(0.02, samples=4)
STEPS, SEED = 4, 7


def bert():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, num_labels=3,
        intermediate_size=12, max_position_embeddings=8, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return BertForSequenceClassification(config)


def gpt2():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0,
        eos_token_id=0, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def data(model):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(20, (12, 6), generator=generator)
    if isinstance(model, GPT2LMHeadModel):
        labels = tokens.clone()
        labels[::2, 4:] = -100
        return [{"input_ids": t, "labels": y} for t, y in zip(tokens, labels, strict=True)]
    return [{"input_ids": t, "labels": t[0] % 3} for t in tokens]


class Noted(SmoothedTrainer):
    """Remembers what it was trained on."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        more = {"num_items_in_batch": num_items_in_batch}
        if not return_outputs:
            batches = self.__dict__.setdefault("batches", [])
            batches.append((self.state.global_step, dict(inputs), more))
        return super().compute_loss(model, inputs, return_outputs, **more)


def trainer_of(model, folder, kind=Noted, **options):
    given = dict(
        output_dir=str(folder), max_steps=STEPS, per_device_train_batch_size=3, seed=SEED,
        gradient_accumulation_steps=2, max_grad_norm=0.5, report_to=[], disable_tqdm=True,
        use_cpu=True, dataloader_pin_memory=False, save_strategy="no", logging_strategy="no",
    )  # fmt: skip
    arguments = TrainingArguments(**given | options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    made = dict(args=arguments, train_dataset=data(model), eval_dataset=data(model))
    return kind(model=model, optimizers=(optimizer, schedule), perturbation=LAW, **made)


def parameters(model):
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def by_hand(model, batches, bf16):
    optimizer, begun = torch.optim.AdamW(model.parameters(), lr=0.01), {}
    model.train()
    for i, (step, inputs, more) in enumerate(batches):
        number = begun[step] = begun.get(step, -1) + 1

        def loss(inputs=inputs, more=more):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                return model(**inputs, **more).loss.float()

        smoothed = pprs.smooth(
            loss, model, LAW, seed=derive_seed(SEED, number, "smoothing"), step=step
        )
        smoothed.backward()  # these models divide by the labels of both batches themselves
        if i + 1 == len(batches) or batches[i + 1][0] > step:
            clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
    return parameters(model)


@pytest.mark.parametrize(("build", "bf16"), [(bert, False), (bert, True), (gpt2, False)])
def test_it_trains_as_a_loop_by_hand(tmp_path, build, bf16):
    model = build()
    trainer = trainer_of(model, tmp_path, bf16=bf16)
    assert trainer.train().global_step == STEPS
    assert len(trainer.batches) == 2 * STEPS
    right = by_hand(build(), trainer.batches, bf16)
    torch.testing.assert_close(parameters(model), right, rtol=0, atol=0)


def test_evaluation_is_at_the_unperturbed_parameters(tmp_path):
    model = bert()
    trainer = trainer_of(model, tmp_path)
    trainer.train()
    found = trainer.evaluate()["eval_loss"]
    rows = data(model)
    tokens, labels = (torch.stack([row[k] for row in rows]) for k in ("input_ids", "labels"))
    with torch.no_grad():
        right = model.eval()(input_ids=tokens, labels=labels).loss.item()
    assert found == pytest.approx(right, rel=1e-5)


def test_a_run_that_is_resumed_ends_as_if_uninterrupted(tmp_path):
    whole, again = bert(), bert()
    saving = dict(save_strategy="steps", save_steps=2)
    trainer_of(whole, tmp_path, **saving).train()
    trainer_of(again, tmp_path, **saving).train(str(tmp_path / "checkpoint-2"))
    torch.testing.assert_close(parameters(again), parameters(whole), rtol=0, atol=0)


def test_any_trainer_can_have_it(tmp_path):
    class Own(Trainer):
        pass

    class Mine(SmoothedLoss, Own):
        pass

    mine, right = bert(), bert()
    trainer_of(mine, tmp_path, Mine).train()
    trainer_of(right, tmp_path, SmoothedTrainer).train()
    torch.testing.assert_close(parameters(mine), parameters(right), rtol=0, atol=0)


def test_what_cannot_be_is_refused_in_a_sentence(tmp_path):
    trainer = trainer_of(bert(), tmp_path)
    with pytest.raises(ValueError, match="outputs of a training step"):
        trainer.compute_loss(trainer.model, {}, return_outputs=True)
    with pytest.raises(ValueError, match="torch_compile=True hides the functions"):
        trainer_of(bert(), tmp_path, torch_compile=True)
    with pytest.raises(ValueError, match="checkpointing=True would run layers again"):
        trainer_of(bert(), tmp_path, activation_checkpointing=True)
