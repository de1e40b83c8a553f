"""What a step would cost before it is paid for: measured layers, predicted pipelines, advice."""
