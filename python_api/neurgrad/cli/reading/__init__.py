"""Read what users give: options, prompt files, models, places to write to."""
