"""The actions that come with Stepwell, a module for each family; one is imported when it is first used."""

from stepwell.registry import actions

actions.promise("stepwell.actions.events", "event.emit")
actions.promise("stepwell.actions.files", "file.read", "file.write")
actions.promise("stepwell.actions.flow", "fail", "log", "sleep", "stop")
actions.promise("stepwell.actions.http", "http.request")
actions.promise("stepwell.actions.http_download", "http.download")
actions.promise("stepwell.actions.parse", "csv.parse", "json.parse", "yaml.parse")
actions.promise("stepwell.actions.template", "template.render")
