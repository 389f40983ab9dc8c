# Ids, versions, methods: what makes a request, and what is echoed.

# id null is a request
>> {"jsonrpc": "2.0", "id": null, "method": "rpc.discover"}
<< {"jsonrpc":"2.0","result":{"openrpc":"1.3.2"},"id":null}

# id 0
>> {"jsonrpc": "2.0", "id": 0, "method": "rpc.discover"}
<< {"jsonrpc":"2.0","result":{"openrpc":"1.3.2"},"id":0}

# id of no characters
>> {"jsonrpc": "2.0", "id": "", "method": "rpc.discover"}
<< {"jsonrpc":"2.0","result":{"openrpc":"1.3.2"},"id":""}

# id with a fraction
>> {"jsonrpc": "2.0", "id": 1.5, "method": "rpc.discover"}
<< {"jsonrpc":"2.0","result":{"openrpc":"1.3.2"},"id":1.5}

# a negative id
>> {"jsonrpc": "2.0", "id": -9007199254740991, "method": "rpc.discover"}
<< {"jsonrpc":"2.0","result":{"openrpc":"1.3.2"},"id":-9007199254740991}

# an id of other scripts, and one half of a pair
>> {"jsonrpc": "2.0", "id": "é😀\ud800", "method": "rpc.discover"}
<< {"jsonrpc":"2.0","result":{"openrpc":"1.3.2"},"id":"é😀\ud800"}

# an id that would come back as another number
>> {"jsonrpc": "2.0", "id": 9007199254740993, "method": "rpc.discover"}
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"id","expected":"a string, null, or a number that survives being echoed"}},"id":null}

# an id that would come back as null
>> {"jsonrpc": "2.0", "id": 1e400, "method": "rpc.discover"}
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"id","expected":"a string, null, or a number that survives being echoed"}},"id":null}

# an object as id
>> {"jsonrpc": "2.0", "id": {}, "method": "rpc.discover"}
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"id","expected":"a string, null, or a number that survives being echoed"}},"id":null}

# an array as id
>> {"jsonrpc": "2.0", "id": [1], "method": "rpc.discover"}
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"id","expected":"a string, null, or a number that survives being echoed"}},"id":null}

# a boolean as id
>> {"jsonrpc": "2.0", "id": false, "method": "rpc.discover"}
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"id","expected":"a string, null, or a number that survives being echoed"}},"id":null}

# no version
>> {"id": 1, "method": "rpc.discover"}
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"jsonrpc","expected":"\"2.0\""}},"id":1}

# version 1.0
>> {"jsonrpc": "1.0", "id": 1, "method": "rpc.discover"}
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"jsonrpc","expected":"\"2.0\""}},"id":1}

# the version as a number
>> {"jsonrpc": 2.0, "id": 1, "method": "rpc.discover"}
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"jsonrpc","expected":"\"2.0\""}},"id":1}

# no version and no id: no notification either
>> {"method": "rpc.discover"}
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"jsonrpc","expected":"\"2.0\""}},"id":null}

# no method
>> {"jsonrpc": "2.0", "id": 1}
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"method","expected":"a string"}},"id":1}

# null as method
>> {"jsonrpc": "2.0", "id": 1, "method": null}
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"method","expected":"a string"}},"id":1}

# null as params
>> {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover", "params": null}
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"params","expected":"an object"}},"id":1}

# a string as params
>> {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover", "params": "all"}
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"params","expected":"an object"}},"id":1}

# an array as params: by position
>> {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover", "params": [[]]}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params","expected":"an object: parameters by name"}},"id":1}

# an empty array as params: none
>> {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover", "params": []}
<< {"jsonrpc":"2.0","result":{"openrpc":"1.3.2"},"id":1}

# an empty array where params are needed
>> {"jsonrpc": "2.0", "id": 1, "method": "get_job", "params": []}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params.id","expected":"required"}},"id":1}

# members beyond the specification's are ignored
>> {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover", "meta": {"traceparent": "x"}}
<< {"jsonrpc":"2.0","result":{"openrpc":"1.3.2"},"id":1}

# the empty method
>> {"jsonrpc": "2.0", "id": 1, "method": ""}
<< {"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":1}

# __proto__
>> {"jsonrpc": "2.0", "id": 1, "method": "__proto__"}
<< {"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":1}

# constructor
>> {"jsonrpc": "2.0", "id": 1, "method": "constructor"}
<< {"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":1}

# toString
>> {"jsonrpc": "2.0", "id": 1, "method": "toString", "params": {}}
<< {"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":1}

# rpc.x
>> {"jsonrpc": "2.0", "id": 1, "method": "rpc.x"}
<< {"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":1}

# another case
>> {"jsonrpc": "2.0", "id": 1, "method": "RPC.discover"}
<< {"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":1}

# a name from Object.prototype as a request's own member
>> {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover", "__proto__": {"method": "whoami"}}
<< {"jsonrpc":"2.0","result":{"openrpc":"1.3.2"},"id":1}

# a handler's crash says nothing of itself
>> {"jsonrpc": "2.0", "id": 1, "method": "get_runner_status", "params": {"name": "build-1", "auth": "alice"}}
<< {"jsonrpc":"2.0","error":{"code":-32603,"message":"Internal error","data":{"request_id":"request-1"}},"id":1}

# a notification whose handler crashes
>> {"jsonrpc": "2.0", "method": "get_runner_status", "params": {"name": "build-1", "auth": "alice"}}
<<

# a notification with wrong params
>> {"jsonrpc": "2.0", "method": "get_job", "params": {"id": 1}}
<<

# a notification that would change something
>> {"jsonrpc": "2.0", "method": "delete_job", "params": {"id": "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b", "auth": "alice"}}
<<
