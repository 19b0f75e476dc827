"""Who acts, who judges its states and where it started from: policy, critic, reference."""
