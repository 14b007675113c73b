// An OAuth server that is not ours (oidc-provider), at the paths of a ServiceNow instance. It rotates refresh tokens
// and ends a whole grant when a spent one comes back, as the best current practice asks. Usage:
// CLIENT_ID=… CLIENT_SECRET=… node oidc-provider.mjs CERTIFICATE KEY; prints its port once it listens.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { Provider } from 'oidc-provider';

const [certificate, key] = process.argv.slice(2);
const { CLIENT_ID: clientId, CLIENT_SECRET: clientSecret } = process.env;
const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) });

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const provider = new Provider(`https://127.0.0.1:${port}`, {
    clients: [{
      client_id: clientId,
      client_secret: clientSecret,
      application_type: 'native',
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: ['http://127.0.0.1/callback'],
      token_endpoint_auth_method: 'client_secret_post',
    }],
    cookies: { keys: [clientSecret] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    issueRefreshToken: () => true,
    rotateRefreshToken: true,
    routes: { authorization: '/oauth_auth.do', token: '/oauth_token.do' },
    ttl: { AccessToken: 3600, RefreshToken: 8640000, Grant: 8640000, Interaction: 600, Session: 600 },
  });

  // ServiceNow grants an application's own scope where a request names none; this server wants one named.
  provider.use(async (context, next) => {
    if (context.path === '/oauth_auth.do') context.query = { scope: 'openid', ...context.query };
    await next();
  });

  // The API that the probe asks: who does this bearer token act as?
  provider.use(async (context, next) => {
    if (!context.path.startsWith('/api/now/')) return next();
    const [, value] = (context.get('authorization') || '').split(' ');
    const token = value && await provider.AccessToken.find(value);
    context.status = token ? 200 : 401;
    context.body = token ? { result: [{ user_name: token.accountId }] } : { error: { message: 'User Not Authenticated' } };
    return undefined;
  });

  server.on('request', provider.callback());
  process.stdout.write(`${port}\n`);
});
