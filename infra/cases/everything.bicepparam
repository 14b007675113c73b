// Everything that can be chosen, at once.
using '../main.bicep'

param environmentName = 'refresher'
param location = 'westeurope'
param principalId = '00000000-0000-0000-0000-00000000000b'
param principalType = 'ServicePrincipal'
param connections = {
  assets: { instance_url: 'https://assets.contoso.com', grant: 'jwt_bearer', jwt: { sub: 'integration' } }
  incidents: {
    instance_url: 'https://contoso.service-now.com'
    fallback_grant: 'password'
    publish_to: ['https://kv-chat.vault.azure.net/secrets/incidents--agent--global--oauth-token', 'tickets']
  }
}
param simpleChatVaultName = 'kv-chat'
param simpleChatVaultResourceGroup = 'rg-chat'
param simpleChatTargets = ' incidents--agent--global--oauth-token '
param keyVaultName = 'kv-contoso'
param keyVaultResourceGroup = 'rg-contoso-vaults'
param privateNetwork = true
param refreshQueue = 'refresh'
param refreshSchedule = '0 */10 * * * *'
param refreshIntervalMinutes = 40
param allowCustomHost = true
param alertEmail = 'oncall@contoso.com'
param actionGroupId = '/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-oncall/providers/Microsoft.Insights/actionGroups/on-call'
param runbookUrl = 'https://contoso.com/runbook'
param logRetentionDays = 30
param statusKey = 'CANARY-status-key'
param storageSku = 'Standard_LRS'
param zoneRedundant = true
param refreshPaused = true
param jwt = { sub: 'integration', kid: 'key-1' }
