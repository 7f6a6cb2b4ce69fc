"""What a model is: card, tokenizer, decoder, files. Not how it is served."""
