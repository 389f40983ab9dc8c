# The examples of JSON-RPC 2.0, section 7, with the methods there are here.
# `>>` is sent, `<<` comes back byte for byte, a lone `<<` says that nothing does.

# rpc call with positional parameters: taken by name only
>> {"jsonrpc": "2.0", "method": "delete_job", "params": ["0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b"], "id": 1}
<< {"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"path":"params","expected":"an object: parameters by name"}},"id":1}

# rpc call with named parameters
>> {"jsonrpc": "2.0", "method": "delete_job", "params": {"id": "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b", "auth": "alice"}, "id": 3}
<< {"jsonrpc":"2.0","result":{"id":"0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b","deleted":true},"id":3}

# rpc call with named parameters in another order
>> {"jsonrpc": "2.0", "method": "delete_job", "params": {"auth": "alice", "id": "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b"}, "id": 4}
<< {"jsonrpc":"2.0","result":{"id":"0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b","deleted":true},"id":4}

# a notification
>> {"jsonrpc": "2.0", "method": "list_jobs", "params": {"limit": 5, "auth": "alice"}}
<<

# a notification of no such method
>> {"jsonrpc": "2.0", "method": "foobar"}
<<

# rpc call of non-existent method
>> {"jsonrpc": "2.0", "method": "foobar", "id": "1"}
<< {"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":"1"}

# rpc call with invalid JSON
>> {"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]
<< {"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":{"reason":"not JSON"}},"id":null}

# rpc call with invalid Request object
>> {"jsonrpc": "2.0", "method": 1, "params": "bar"}
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"method","expected":"a string"}},"id":null}

# rpc call Batch, invalid JSON
>> [
>>   {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
>>   {"jsonrpc": "2.0", "method"
>> ]
<< {"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":{"reason":"not JSON"}},"id":null}

# rpc call with an empty Array
>> []
<< {"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"a batch","expected":"at least one entry"}},"id":null}

# rpc call with an invalid Batch (but not empty)
>> [1]
<< [{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"request","expected":"an object"}},"id":null}]

# rpc call with invalid Batch
>> [1,2,3]
<< [{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"request","expected":"an object"}},"id":null},{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"request","expected":"an object"}},"id":null},{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"request","expected":"an object"}},"id":null}]

# rpc call Batch
>> [
>>   {"jsonrpc": "2.0", "method": "list_runners", "params": {"auth": "alice"}, "id": "1"},
>>   {"jsonrpc": "2.0", "method": "list_runners", "params": {"auth": "alice"}},
>>   {"jsonrpc": "2.0", "method": "rpc.discover", "id": "2"},
>>   {"foo": "boo"},
>>   {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
>>   {"jsonrpc": "2.0", "method": "list_peers", "params": {"auth": "root"}, "id": "9"}
>> ]
<< [{"jsonrpc":"2.0","result":{"runners":[]},"id":"1"},{"jsonrpc":"2.0","result":{"openrpc":"1.3.2"},"id":"2"},{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":{"path":"jsonrpc","expected":"\"2.0\""}},"id":null},{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":"5"},{"jsonrpc":"2.0","result":{"peers":[]},"id":"9"}]

# rpc call Batch (all notifications)
>> [
>>   {"jsonrpc": "2.0", "method": "list_runners", "params": {"auth": "alice"}},
>>   {"jsonrpc": "2.0", "method": "foobar", "params": [7]}
>> ]
<<
