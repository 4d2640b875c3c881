"""The declarations of the settings, one module for each subject. `supervisor.config.settings` joins them."""
