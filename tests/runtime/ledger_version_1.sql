PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE invocations (
	id TEXT NOT NULL, 
	function TEXT NOT NULL, 
	requested_device TEXT NOT NULL, 
	version TEXT NOT NULL, 
	priority INTEGER NOT NULL, 
	created_at DOUBLE NOT NULL, 
	parameters TEXT, 
	input_key TEXT, 
	input_parts TEXT, 
	idempotency_key TEXT, 
	fingerprint TEXT, 
	replayed_from TEXT, 
	traceparent TEXT, 
	status TEXT NOT NULL, 
	device TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	started_at DOUBLE, 
	finished_at DOUBLE, 
	timings TEXT, 
	cold BOOLEAN NOT NULL, 
	replica TEXT, 
	error TEXT, 
	result TEXT, 
	result_part TEXT, 
	blobs TEXT, 
	log TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO invocations VALUES('01a2075e3f6b700081d1a0b5a0d6a8a1','noop','auto','v1',0,1700000000.4999999999,'{"n":1}',NULL,NULL,'once',NULL,NULL,NULL,'succeeded','cpu',1,1700000000.5999999046,1700000000.7000000476,'{"queue":0.1,"start":0.0,"run":0.1}',0,'noop-cpu-1',NULL,'42','{"name":"result","media_type":"application/json","size":2,"key":null}',NULL,NULL);
INSERT INTO invocations VALUES('01a2075e3f6b700181d1a0b5a0d6a8a2','noop','auto','v1',0,1700000000.4999999999,'{"n":1}',NULL,NULL,NULL,NULL,NULL,NULL,'running','cpu',1,1700000000.5999999046,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE attempts (
	invocation TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	replica TEXT, 
	device TEXT NOT NULL, 
	started_at DOUBLE, 
	finished_at DOUBLE, 
	error TEXT, 
	PRIMARY KEY (invocation, attempt)
);
INSERT INTO attempts VALUES('01a2075e3f6b700181d1a0b5a0d6a8a2',1,'noop-cpu-1','cpu',1.0,2.0,'{"type":"ReplicaDied","message":"signal 9","traceback":null,"details":{}}');
CREATE TABLE decisions (
	number INTEGER NOT NULL, 
	at DOUBLE NOT NULL, 
	function TEXT NOT NULL, 
	device TEXT NOT NULL, 
	"before" INTEGER NOT NULL, 
	"after" INTEGER NOT NULL, 
	reason TEXT NOT NULL, 
	backlog INTEGER NOT NULL, 
	PRIMARY KEY (number)
);
CREATE TABLE totals (
	name TEXT NOT NULL, 
	count INTEGER NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO totals VALUES('accepted',2);
INSERT INTO totals VALUES('succeeded',1);
INSERT INTO totals VALUES('ignored',0);
CREATE TABLE meta (
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO meta VALUES('schema_version','1');
CREATE INDEX unfinished ON invocations (id) WHERE status NOT IN ('cancelled', 'dead', 'failed', 'succeeded', 'timed_out');
CREATE UNIQUE INDEX by_idempotency_key ON invocations (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX by_status ON invocations (status, created_at, id);
CREATE INDEX samples ON invocations (function, device, id) WHERE status = 'succeeded';
CREATE INDEX by_creation ON invocations (created_at, id);
CREATE INDEX by_function ON invocations (function, created_at, id);
CREATE INDEX decisions_by_function ON decisions (function, number);
COMMIT;
