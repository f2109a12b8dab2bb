BEGIN TRANSACTION;
CREATE TABLE ceilings (
	device_id INTEGER NOT NULL, 
	measured_at DATETIME NOT NULL, 
	copy_gbs DOUBLE NOT NULL, 
	bf16_tflops DOUBLE, 
	fp16_tflops DOUBLE, 
	tf32_tflops DOUBLE, 
	fp32_tflops DOUBLE, 
	pinned_up_gbs DOUBLE, 
	pinned_down_gbs DOUBLE, 
	pageable_up_gbs DOUBLE, 
	pageable_down_gbs DOUBLE, 
	CONSTRAINT pk_ceilings PRIMARY KEY (device_id), 
	CONSTRAINT fk_ceilings_device_id FOREIGN KEY(device_id) REFERENCES devices (id)
);
INSERT INTO "ceilings" VALUES(1,'2026-01-31 12:03:00.000000',3300.0,650.0,NULL,NULL,NULL,55.0,NULL,NULL,NULL);
CREATE TABLE configs (
	id INTEGER NOT NULL, 
	family TEXT NOT NULL, 
	axes TEXT NOT NULL, 
	CONSTRAINT pk_configs PRIMARY KEY (id), 
	CONSTRAINT uq_configs UNIQUE (family, axes)
);
INSERT INTO "configs" VALUES(1,'tiled','{"block_k":64,"block_m":128,"block_n":128,"group_m":8,"num_stages":3,"num_warps":4}');
INSERT INTO "configs" VALUES(2,'tiled','{"block_k":64,"block_m":64,"block_n":128,"group_m":8,"num_stages":3,"num_warps":4}');
INSERT INTO "configs" VALUES(3,'cublas','{}');
CREATE TABLE devices (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	arch TEXT NOT NULL, 
	sm_count INTEGER NOT NULL, 
	shared_memory_bytes BIGINT NOT NULL, 
	l2_bytes BIGINT NOT NULL, 
	memory_bytes BIGINT NOT NULL, 
	sm_clock_mhz INTEGER NOT NULL, 
	memory_clock_mhz INTEGER NOT NULL, 
	power_limit_w INTEGER NOT NULL, 
	CONSTRAINT pk_devices PRIMARY KEY (id), 
	CONSTRAINT uq_devices UNIQUE (name, arch, sm_count, shared_memory_bytes, l2_bytes, memory_bytes, sm_clock_mhz, memory_clock_mhz, power_limit_w)
);
INSERT INTO "devices" VALUES(1,'NVIDIA H100 (nominal)','sm90',132,232448,52428800,85899345920,0,0,0);
CREATE TABLE environments (
	id INTEGER NOT NULL, 
	triton TEXT NOT NULL, 
	torch TEXT NOT NULL, 
	cuda TEXT NOT NULL, 
	driver TEXT NOT NULL, 
	python TEXT NOT NULL, 
	kernel_hash TEXT NOT NULL, 
	"commit" TEXT NOT NULL, 
	CONSTRAINT pk_environments PRIMARY KEY (id), 
	CONSTRAINT uq_environments UNIQUE (triton, torch, cuda, driver, python, kernel_hash, "commit")
);
INSERT INTO "environments" VALUES(1,'3.7.1','2.13.0','13.0','580.1','3.11.7','0123456789abcdef','');
CREATE TABLE lanes (
	race_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	config_id INTEGER NOT NULL, 
	environment_id INTEGER NOT NULL, 
	times_us TEXT NOT NULL, rested_us TEXT, 
	CONSTRAINT pk_lanes PRIMARY KEY (race_id, position), 
	CONSTRAINT fk_lanes_race FOREIGN KEY(race_id) REFERENCES races (id), 
	CONSTRAINT fk_lanes_config FOREIGN KEY(config_id) REFERENCES configs (id), 
	CONSTRAINT fk_lanes_environment FOREIGN KEY(environment_id) REFERENCES environments (id)
);
INSERT INTO "lanes" VALUES(1,0,3,1,'[100.0,101.0]','[90.0,90.5]');
INSERT INTO "lanes" VALUES(1,1,1,1,'[98.0,99.0]','[89.0,89.5]');
CREATE TABLE "problems" (
	id INTEGER NOT NULL, 
	m INTEGER NOT NULL, 
	n INTEGER NOT NULL, 
	k INTEGER NOT NULL, 
	dtype TEXT NOT NULL, 
	layout TEXT NOT NULL, 
	out_dtype TEXT NOT NULL, 
	epilogue TEXT NOT NULL, 
	CONSTRAINT pk_problems PRIMARY KEY (id), 
	CONSTRAINT uq_problems UNIQUE (n, k, m, dtype, layout, out_dtype, epilogue)
);
INSERT INTO "problems" VALUES(1,512,4096,4096,'bf16','nt','bf16','');
CREATE TABLE races (
	id INTEGER NOT NULL, 
	problem_id INTEGER NOT NULL, 
	device_id INTEGER NOT NULL, 
	protocol TEXT NOT NULL, 
	reference_id INTEGER NOT NULL, 
	started_at DATETIME NOT NULL, 
	confidence DOUBLE NOT NULL, 
	notes TEXT NOT NULL, 
	CONSTRAINT pk_races PRIMARY KEY (id), 
	CONSTRAINT uq_races UNIQUE (problem_id, device_id, protocol, started_at), 
	CONSTRAINT fk_races_problem FOREIGN KEY(problem_id) REFERENCES problems (id), 
	CONSTRAINT fk_races_device FOREIGN KEY(device_id) REFERENCES devices (id), 
	CONSTRAINT fk_races_reference FOREIGN KEY(reference_id) REFERENCES configs (id)
);
INSERT INTO "races" VALUES(1,1,1,'race',3,'2026-01-31 12:02:00.000000',0.95,'["a note"]');
CREATE TABLE tilewright_schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT tilewright_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "tilewright_schema" VALUES('0004');
CREATE TABLE trials (
	id INTEGER NOT NULL, 
	problem_id INTEGER NOT NULL, 
	device_id INTEGER NOT NULL, 
	environment_id INTEGER NOT NULL, 
	config_id INTEGER NOT NULL, 
	protocol TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	started_at DATETIME NOT NULL, 
	median_us DOUBLE, 
	speed DOUBLE, 
	times_us TEXT, 
	reference_us TEXT, 
	sm_clock_mhz INTEGER, 
	temperature_c INTEGER, 
	power_w DOUBLE, 
	registers INTEGER, 
	spill_bytes INTEGER, 
	shared_memory_bytes INTEGER, 
	compile_seconds DOUBLE, 
	checks TEXT NOT NULL, memory_clock_mhz INTEGER, throttle TEXT, warnings TEXT, 
	CONSTRAINT pk_trials PRIMARY KEY (id), 
	CONSTRAINT uq_trials UNIQUE (problem_id, device_id, environment_id, config_id, protocol), 
	CONSTRAINT fk_trials_problem FOREIGN KEY(problem_id) REFERENCES problems (id), 
	CONSTRAINT fk_trials_device FOREIGN KEY(device_id) REFERENCES devices (id), 
	CONSTRAINT fk_trials_environment FOREIGN KEY(environment_id) REFERENCES environments (id), 
	CONSTRAINT fk_trials_config FOREIGN KEY(config_id) REFERENCES configs (id)
);
INSERT INTO "trials" VALUES(1,1,1,1,1,'graph','measured','','2026-01-31 12:00:00.000000',9.96999999999999886313e+01,1.0180906706586465571e+00,'[100.1,99.3]','[101.0,102.0]',1980,51,402.5,168,4,98304,0.31,'[{"bound":1.0,"column":5,"error":0.4,"expected":1.5,"problem":"512x4096x4096-bf16-nt","row":3,"value":1.25}]',2619,'["power cap"]','["the last reading is an outlier"]');
INSERT INTO "trials" VALUES(2,1,1,1,2,'','wrong','error 3','2026-01-31 12:01:00.000000',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]',NULL,NULL,NULL);
CREATE VIEW results AS
SELECT p.m, p.n, p.k, p.dtype, p.layout, p.out_dtype, p.epilogue, d.name AS device, c.family, c.axes, t.outcome,
       t.median_us, t.speed, t.reason, t.protocol, t.started_at, e.triton, e.torch, e.cuda, e.driver, e.kernel_hash,
       t.registers, t.spill_bytes, t.shared_memory_bytes, t.compile_seconds
FROM trials t
JOIN problems p ON p.id = t.problem_id
JOIN devices d ON d.id = t.device_id
JOIN environments e ON e.id = t.environment_id
JOIN configs c ON c.id = t.config_id;
COMMIT;
