"""What the training recipes beside this folder share: their sets, labelling, fine-tuning."""
