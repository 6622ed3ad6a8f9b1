"""finetuned: drop text files into a folder, get a fine-tuned model and its question-answer pairs."""

__version__ = "0.2.0"
