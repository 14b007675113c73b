// Several connections: with their default targets, with some of their own, with none.
using '../main.bicep'

param environmentName = 'refresher'
param location = 'westeurope'
param principalId = '00000000-0000-0000-0000-00000000000a'
param simpleChatVaultName = 'kv-chat'
param connections = {
  servicenow: { instance_url: 'https://contoso.service-now.com' }
  assets: {
    instance_url: 'https://assets.service-now.com'
    publish_to: ['tickets', 'https://kv-chat.vault.azure.net/secrets/assets--action--global--oauth-token']
  }
  incidents: {
    instance_url: 'https://contoso.service-now.com'
    publish_to: 'servicenow-incidents, servicenow-reports'
  }
  reports: { instance_url: 'https://contoso.service-now.com', publish_to: '' }
}
