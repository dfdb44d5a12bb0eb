"""What answers questions about meter that come by HTTP and WebSocket; the routes are in `earmark.web.api.meter`.

==================  ===================================================================================
module              runs in
==================  ===================================================================================
`opened`            a worker: the open analyst of a project
`recording`         a worker: a recording that was sent, step by step
`listener`          a worker of its own per listener: what is heard
`steps`             the server: how far each recording is, for who watches
`ears`              the server: the workers of listeners
`conversation`      the server: a WebSocket and its worker
==================  ===================================================================================
"""
