-- A service that has run for a while, in miniature: much history, little open work. Tables in which nothing
-- may be searched row by row have thousands of rows; ids are functions of their numbers.
-- gen(kind, n) is replaced by an md5 of both, as a uuid.

INSERT INTO tenants (id, name) SELECT gen('tenant', t), 'tenant ' || t FROM generate_series(0, 19) t;
INSERT INTO markets (name, clock, shards) VALUES ('market', 'live', 16);
INSERT INTO shards (shard) SELECT generate_series(0, 15);
INSERT INTO instruments (id, kind, underlying, terms)
SELECT id, 'perpetual', 'BTC',
    jsonb_build_object('id', id, 'kind', 'perpetual', 'underlying', 'BTC', 'quote', 'USDT')
FROM (SELECT 'BTC-' || i FROM generate_series(0, 19) i) AS named(id);

INSERT INTO api_keys (id, tenant_id, name, hash, prefix, scopes)
SELECT gen('key', k), gen('tenant', k % 20), 'key', decode(md5(k::text), 'hex'), 'blst_', '{read}'
FROM generate_series(0, 3999) k;

INSERT INTO portfolios (id, tenant_id, shard, name, valuation_currency, revision, evaluated_revision, event_sequence)
SELECT gen('portfolio', p), gen('tenant', p % 20), p % 16, 'portfolio ' || p, 'USDT', 9,
       CASE WHEN p % 499 = 0 THEN 8 ELSE 9 END, 5
FROM generate_series(0, 3999) p;
INSERT INTO accounts (id, portfolio_id, ordinal, name, venue, margin_mode)
SELECT gen('account', p), gen('portfolio', p), 0, 'main', 'paper', 'cross' FROM generate_series(0, 3999) p;
INSERT INTO positions (account_id, instrument_id, ordinal, quantity, entry_price)
SELECT gen('account', p), 'BTC-' || p % 20, 0, 1, 60000 FROM generate_series(0, 3999) p;
INSERT INTO balances (account_id, asset, ordinal, amount)
SELECT gen('account', p), 'USDT', 0, 20000 FROM generate_series(0, 3999) p;
INSERT INTO reserves (portfolio_id, asset, ordinal, amount)
SELECT gen('portfolio', p), 'USDT', 0, 5000 FROM generate_series(0, 3999) p;

INSERT INTO policies (id, tenant_id, portfolio_id, ordinal, kind, enabled, document)
SELECT gen('policy', p), gen('tenant', p % 20), gen('portfolio', p), 0, 'delta_neutral', true,
    '{"kind": "delta_neutral", "name": "flat", "underlying": "BTC", "band": "1", "hedge_instruments": ["BTC-1"]}'
FROM generate_series(0, 3999) p;
INSERT INTO policy_versions (policy_id, version, document)
SELECT gen('policy', p), 1, '{}' FROM generate_series(0, 3999) p;
INSERT INTO policy_memory (policy_id, portfolio_id, memory)
SELECT gen('policy', p), gen('portfolio', p), '' FROM generate_series(0, 3999) p;

INSERT INTO adjustments (id, tenant_id, portfolio_id, policy_id, policy_version, state, mode, priority,
    risk_reducing, legs, remaining, expected_cost, metrics_before, metrics_after, reaches_target, generation,
    sequence, decided_at_ns, expires_at_ns, created_at)
SELECT gen('adjustment', a), gen('tenant', a % 4000 % 20), gen('portfolio', a % 4000), gen('policy', a % 4000), 1,
    CASE WHEN a % 401 = 0 THEN 'queued' WHEN a % 401 = 1 THEN 'recommended' ELSE 'executed' END, 'auto', 100,
    a % 2 = 0, '[]', '[]', 0, '{}', '{}', true, 1, a, a, 9223372036854775807,
    now() - make_interval(secs => 20000 - a)
FROM generate_series(0, 19999) a;
INSERT INTO decisions (id, tenant_id, portfolio_id, policy_id, policy_version, portfolio_revision, generation,
    sequence, time_ns, outcome, reason, conditions, inputs, repeats_before, adjustment_id)
SELECT gen('decision', a), gen('tenant', a % 4000 % 20), gen('portfolio', a % 4000), gen('policy', a % 4000), 1, 1,
    1, a, a, 'acted', 'target_reached', '{}', '{}', 0, gen('adjustment', a)
FROM generate_series(0, 19999) a;
INSERT INTO fills (id, tenant_id, portfolio_id, account_id, adjustment_id, leg, kind, instrument_id, asset,
    quantity, price, fee, time_ns, created_at)
SELECT gen('fill', a), gen('tenant', a % 4000 % 20), gen('portfolio', a % 4000), gen('account', a % 4000),
    gen('adjustment', a), 0, 'trade', 'BTC-' || a % 20, 'USDT', 1, 60000, 1, a,
    now() - make_interval(secs => 20000 - a)
FROM generate_series(0, 19999) a;
INSERT INTO events (portfolio_id, sequence, tenant_id, type, version, time_ns, data, dispatched, created_at)
SELECT gen('portfolio', e % 4000), 1 + e / 4000, gen('tenant', e % 4000 % 20), 'adjustment.executed', 1, e, '{}',
    e % 999 <> 0, now() - make_interval(secs => 20010 - e)
FROM generate_series(0, 19999) e;
INSERT INTO webhook_endpoints (id, tenant_id, url, secret, event_types)
SELECT gen('endpoint', w), gen('tenant', w), 'https://example.com/', ''::bytea, '{}'
FROM generate_series(0, 19) w;
INSERT INTO webhook_queues (endpoint_id) SELECT id FROM webhook_endpoints;
INSERT INTO webhook_deliveries (endpoint_id, portfolio_id, sequence, state, next_attempt_at, attempts)
SELECT w.id, e.portfolio_id, e.sequence,
    CASE WHEN e.time_ns % 501 = 0 THEN 'pending' ELSE 'delivered' END, e.created_at, 1
FROM events e JOIN webhook_endpoints w USING (tenant_id) WHERE e.dispatched;
INSERT INTO webhook_attempts (delivery_id, number, endpoint_id, status, latency_ms, at)
SELECT id, 1, endpoint_id, 200, 20, next_attempt_at FROM webhook_deliveries;
INSERT INTO idempotency_keys (tenant_id, key, fingerprint, status, response, headers)
SELECT gen('tenant', k % 20), 'key ' || k, ''::bytea, 201, '{}'::bytea, '{}' FROM generate_series(0, 3999) k;

ANALYZE;
