"""What each rule reads, and by which options: functions of the checked configuration, `config`."""
