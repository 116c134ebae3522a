"""The Action API's contract as data (`actions.json`), and the cases that follow from it.

`actions.json` is the machine-readable form of the API's specification: what each Action takes, answers
and refuses. Nothing here is written out case by case; a parameter that is added to the file is tested.
"""
