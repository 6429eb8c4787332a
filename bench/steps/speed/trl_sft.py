"""TRL's SFTTrainer, beside which SFT is tested and timed."""

from trl import SFTConfig, SFTTrainer

from bench.training.trainer import arguments, dataset


def trainer(job, rows: list[dict]) -> SFTTrainer:
    """Return TRL's trainer of a job; rows: of ``bench.steps.sft.tokenised``.

    Prompt tokens have label -100, which its loss leaves out.
    """
    texts = [
        {
            "input_ids": row["prompt_ids"] + row["answer_ids"],
            "labels": [-100] * len(row["prompt_ids"]) + row["answer_ids"],
        }
        for row in rows
    ]
    args = arguments(SFTConfig, job, len(rows), max_length=None)
    return SFTTrainer(job.policy, args, train_dataset=dataset(texts))
