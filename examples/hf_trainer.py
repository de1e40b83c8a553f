"""Hugging Face's `Trainer` with the smoothed loss, on a small BERT from a config: no downloads.

The task: does a sequence hold more of the words 5 to 9 than of 10 to 14?
"""

import tempfile

import torch
from transformers import BertConfig, BertForSequenceClassification, TrainingArguments

from pprs.integrations import SmoothedTrainer  # was: from transformers import Trainer

torch.manual_seed(0)
config = BertConfig(
    vocab_size=15, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=64, max_position_embeddings=16, num_labels=2,
)  # fmt: skip
model = BertForSequenceClassification(config)

words = torch.randint(5, 15, (600, 9))
labels = ((words < 10).sum(1) > 4).long()
data = [{"input_ids": w, "labels": y} for w, y in zip(words, labels, strict=True)]


def accuracy(predicted):
    """What `evaluate` reports besides the loss."""
    return {"accuracy": (predicted.predictions.argmax(1) == predicted.label_ids).mean()}


with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder, max_steps=60, per_device_train_batch_size=32, learning_rate=0.003, use_cpu=True,
        report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = SmoothedTrainer(  # was: Trainer(
        model=model, args=arguments, train_dataset=data[:400], eval_dataset=data[400:],
        compute_metrics=accuracy,
    )  # fmt: skip
    before = trainer.evaluate()["eval_accuracy"]
    trainer.train()
    print(f"test accuracy {before:.1%} before, {trainer.evaluate()['eval_accuracy']:.1%} after")
