// Keys of the vault sign: of a public client, which has no secret, and as a fallback; and one in another vault.
using '../main.bicep'

param environmentName = 'refresher'
param location = 'westeurope'
param principalId = '00000000-0000-0000-0000-00000000000a'
param keyVaultName = 'contoso-tokens'
param connections = {
  assets: {
    instance_url: 'https://contoso.service-now.com'
    grant: 'jwt_bearer'
    jwt: {
      sub: 'simple.chat'
      alg: 'ES256'
      public_client: true
      key_identifier: 'https://contoso-tokens.vault.azure.net/keys/signer'
    }
  }
  incidents: {
    instance_url: 'https://contoso.service-now.com'
    fallback_grant: 'jwt_bearer'
    jwt: {
      sub: 'simple.chat'
      key_identifier: 'https://contoso-tokens.vault.azure.net/keys/signer-rsa/0123456789abcdef0123456789abcdef'
    }
  }
  plants: {
    instance_url: 'https://contoso.service-now.com'
    grant: 'jwt_bearer'
    jwt: {
      sub: 'simple.chat'
      key_identifier: 'https://contoso-keys.vault.azure.net/keys/signer'
    }
  }
}
param refreshSchedule = '*/5 * * * *'
