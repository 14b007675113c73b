// A vault that is there already, in a resource group of its own.
using '../main.bicep'

param environmentName = 'refresher'
param location = 'westeurope'
param principalId = '00000000-0000-0000-0000-00000000000a'
param instanceUrl = 'https://contoso.service-now.com'
param keyVaultName = 'kv-contoso'
param keyVaultResourceGroup = 'rg-contoso-vaults'
