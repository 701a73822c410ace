module dispatcher/tests/clients/go_json

go 1.21
