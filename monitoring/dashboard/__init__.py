"""The dashboard for Grafana, made from code: `questions` says what is asked, `grafana` writes its JSON (`make dashboards`)."""
