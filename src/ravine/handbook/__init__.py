"""The pages of the docs that are made from the code: rules, gallery, schedules, commands, lectures."""
