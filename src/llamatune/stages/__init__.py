"""The stages of the Llama 2-Chat method, one file each. A stage is `run(recipe, run) -> Result`."""
