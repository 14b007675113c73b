// What a company has already: network, zones, workspace, action group, group on call, tags, names; no roles of its own.
using '../main.bicep'

param environmentName = 'refresher'
param location = 'westeurope'
param principalId = '00000000-0000-0000-0000-00000000000a'
param instanceUrl = 'https://contoso.service-now.com'
param resourceGroupName = 'contoso-integration'
param extraTags = { costCentre: '4711' }
param fallbackGrant = 'jwt_bearer'
param jwt = { sub: 'simple.chat', key_identifier: 'https://kv-zuxh4zmrl3rqc.vault.azure.net/keys/signer' }
param builtInRoles = true
param onCallGroupId = '00000000-0000-0000-0000-00000000000c'
param simpleChatVaultName = 'kv-chat'
param simpleChatVaultSubscription = '00000000-0000-0000-0000-000000000003'
param simpleChatVaultResourceGroup = 'rg-chat'
param simpleChatTargets = 'servicenow--action--global--oauth-token'
param actionGroupId = '/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-oncall/providers/Microsoft.Insights/actionGroups/on-call'
param existingWorkspaceId = '/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-logs/providers/Microsoft.OperationalInsights/workspaces/log-contoso'
param privateNetwork = true
param appSubnetId = '/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-net/providers/Microsoft.Network/virtualNetworks/vnet-contoso/subnets/refresher'
param endpointSubnetId = '/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-net/providers/Microsoft.Network/virtualNetworks/vnet-contoso/subnets/endpoints'
param privateDnsZonesGroupId = '/subscriptions/00000000-0000-0000-0000-000000000004/resourceGroups/rg-dns'
param refreshIntervalMinutes = 120
param refreshSchedule = '0 10/5 * * * *'
