// Copies in Simple Chat's vault and none in the refresher's.
using '../main.bicep'

param environmentName = 'refresher'
param location = 'westeurope'
param principalId = '00000000-0000-0000-0000-00000000000a'
param instanceUrl = 'https://contoso.service-now.com'
param publishedTargets = ''
param simpleChatVaultName = 'kv-chat'
param simpleChatVaultResourceGroup = 'rg-chat'
param simpleChatTargets = 'servicenow--action--global--oauth-token, spare--action--global--oauth-token'
