"""A Transformers Trainer on a tiny GPT-2: only the optimizer's line is ravine's (``--peer``: torch's own)."""

import json
import sys
import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments, set_seed

import ravine.optim

optim = torch.optim if "--peer" in sys.argv else ravine.optim


class PrintLoss(TrainerCallback):
    """Prints what the Trainer logs."""

    def on_log(self, args, state, control, logs, **kwargs):
        """One line a step."""
        if "loss" in logs:
            print(json.dumps({"loss": float(logs["loss"])}))


set_seed(0)
starts = torch.randint(32, (256, 1))
tokens = (starts + 3 * torch.arange(16)) % 32  # each row counts in threes: something to learn
data = [{"input_ids": row, "labels": row} for row in tokens]
config = GPT2Config(vocab_size=32, n_positions=16, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder,
        max_steps=40,
        per_device_train_batch_size=16,
        weight_decay=0.01,
        warmup_steps=5,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        GPT2LMHeadModel(config),
        arguments,
        train_dataset=data,
        callbacks=[PrintLoss()],
        optimizer_cls_and_kwargs=(optim.AdamW, {"lr": 3e-3}),
    )
    trainer.train()
